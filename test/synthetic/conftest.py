"""One small town for all tests of the renderer; building it takes about a second."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vpr_ros.synthetic.lights import LIGHTS, Session
from vpr_ros.synthetic.scene import Scene
from vpr_ros.synthetic.town import Town

CLEAN = Session('noon', LIGHTS['noon'], seed=3, noise=0.0, vignetting=0.0, car_share=0.0)


@pytest.fixture(scope='session')
def town() -> Town:
    return Town.build(1, blocks=(4, 4), aliased_groups=1)


@pytest.fixture(scope='session')
def scene(town: Town) -> Scene:
    """Noon, no cars, a perfect camera."""
    return Scene.build(town, CLEAN)


@pytest.fixture(scope='session')
def other_scene(town: Town) -> Scene:
    """Another time of day, cars, noise."""
    light = LIGHTS['evening']
    return Scene.build(
        town, replace(CLEAN, name='evening', light=light, noise=0.01, car_share=0.4)
    )
