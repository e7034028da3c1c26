"""Where the tests look from."""

from __future__ import annotations

import numpy as np

from vpr_ros.synthetic.camera import View
from vpr_ros.synthetic.town import Town


def view_between(town: Town, start: int, end: int, share: float = 0.4) -> View:
    """In the right-hand lane of a street, `share` of the way from one crossing to the next."""
    a, b = town.plan.crossings_m[[start, end]]
    ahead = (b - a) / np.linalg.norm(b - a)
    x, y = a + share * (b - a) + 1.5 * np.array([ahead[1], -ahead[0]])
    return View(float(x), float(y), float(np.arctan2(ahead[1], ahead[0])))


def middle_view(town: Town, street: int) -> View:
    """In the middle of a street of the plan."""
    return view_between(town, town.plan.streets[street].start, town.plan.streets[street].end)
