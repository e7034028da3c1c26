"""Ways through the town: loops around blocks, streets not driven before, walks of any length."""

from __future__ import annotations

import numpy as np

from vpr_ros.errors import ConfigError
from vpr_ros.synthetic.streets import Plan

SHARPEST_TURN_RAD = np.deg2rad(115.0)

Route = list[int]  # crossings in the order in which they are passed


def turn_rad(plan: Plan, before: int, here: int, after: int) -> float:
    """Angle by which a way turns at a crossing, in [0, pi]."""
    a = plan.crossings_m[here] - plan.crossings_m[before]
    b = plan.crossings_m[after] - plan.crossings_m[here]
    return float(abs(np.arctan2(a[0] * b[1] - a[1] * b[0], a @ b)))


def length_m(plan: Plan, route: Route) -> float:
    """Length of a route along the middle of its streets."""
    steps = np.diff(plan.crossings_m[route], axis=0)
    return float(np.linalg.norm(steps, axis=1).sum())


def streets_of(route: Route) -> set[tuple[int, int]]:
    """The streets of a route as pairs of crossings, lower one first."""
    return {(min(pair), max(pair)) for pair in zip(route[:-1], route[1:], strict=True)}


def streets_alike(plan: Plan) -> list[list[tuple[int, int]]]:
    """Groups of directed streets (from, to) whose houses look alike on both sides."""
    groups: dict[tuple, list[tuple[int, int]]] = {}
    for number, street in enumerate(plan.streets):
        sides = [b for b in plan.blocks if number in b.streets and b.template is not None]
        if len(sides) == 2 and sides[0].template == sides[1].template:
            places = [b.streets.index(number) for b in sides]
            key = (sides[0].template, *sorted(places))
            groups.setdefault(key, []).append((street.start, street.end))
    return [group for group in groups.values() if len(group) > 1]


def walk(
    plan: Plan,
    rng: np.random.Generator,
    least_m: float,
    start: Route,
    avoid: set[tuple[int, int]] | None = None,
    revisit: float = 0.5,
) -> Route:
    """Extend a route by chance until it is `least_m` long.

    Streets of `avoid` are driven only where there is no other way; those driven before in the
    same direction are chosen with weight `revisit` beside 1 for new ones.
    """
    route = list(start)
    neighbours = plan.neighbours()
    driven = {tuple(pair) for pair in zip(route[:-1], route[1:], strict=True)}
    travelled = length_m(plan, route)
    while travelled < least_m:
        here = route[-1]
        before = route[-2] if len(route) > 1 else None
        ways = [n for n in neighbours[here] if before is None or _drivable(plan, before, here, n)]
        ways = ways or [n for n in neighbours[here] if n != before]
        weights = np.array([_weight((here, n), driven, avoid or set(), revisit) for n in ways])
        after = ways[int(rng.choice(len(ways), p=weights / weights.sum()))]
        driven.add((here, after))
        travelled += length_m(plan, [here, after])
        route.append(after)
    return route


def _drivable(plan: Plan, before: int, here: int, after: int) -> bool:
    return after != before and turn_rad(plan, before, here, after) < SHARPEST_TURN_RAD


def _weight(
    way: tuple[int, int], driven: set, avoid: set[tuple[int, int]], revisit: float
) -> float:
    if (min(way), max(way)) in avoid:
        return 1e-6
    if way in driven:
        return revisit
    return 0.15 if way[::-1] in driven else 1.0


def circuit(
    plan: Plan, rng: np.random.Generator, low_m: float, high_m: float, avoid: set[tuple[int, int]]
) -> Route:
    """A way once around a block, closed, whose length lies between two limits.

    Raises:
        ConfigError: no block of such a size lies clear of the streets to avoid.
    """
    for number in rng.permutation(len(plan.blocks)):
        block = plan.blocks[number]
        corners = list(block.corners)
        loop = [*corners, corners[0]]
        ring = [*loop, corners[1]]
        gentle = all(
            turn_rad(plan, *ring[k : k + 3]) < SHARPEST_TURN_RAD for k in range(len(corners))
        )
        clear = not streets_of(loop) & avoid
        if not block.ring and gentle and clear and low_m <= length_m(plan, loop) <= high_m:
            return loop
    raise ConfigError(
        f'no block with {low_m:.0f} to {high_m:.0f} m around it; build a larger town'
    )
