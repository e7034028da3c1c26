"""Drives: a smooth path through streets, exact poses along it, and odometry that drifts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vpr_ros.errors import ConfigError
from vpr_ros.synthetic.camera import SMALL_CAMERA, Camera, View
from vpr_ros.synthetic.lights import Session
from vpr_ros.synthetic.routes import Route, walk
from vpr_ros.synthetic.streets import Plan
from vpr_ros.synthetic.town import Town

if TYPE_CHECKING:
    from vpr_ros.records import Pose

STEP_M = 0.25  # of the path before it is sampled in time
CORNER_M = 13.0  # way over which a turn is spread
SIDEWAYS_M_S2 = 1.8  # acceleration that the driver allows in a turn
FORWARD_M_S2 = 1.2
START_NS = 1_700_000_000_000_000_000


@dataclass(frozen=True)
class Drift:
    """How wheel odometry errs; all deviations."""

    scale: float = 0.01
    yaw_bias_rad_per_m: float = 1e-4
    yaw_walk_rad_per_sqrt_m: float = 2e-3


USUAL_DRIFT = Drift()


@dataclass(frozen=True)
class Drive:
    """N exact poses of the base in the town at regular stamps, and what odometry made of them."""

    session: Session
    camera: Camera
    route: Route
    stamps_ns: np.ndarray  # (N,) int64
    positions_m: np.ndarray  # (N, 3)
    angles_rad: np.ndarray  # (N, 3): roll, pitch, yaw
    odometry_m: np.ndarray  # (N, 3), the first one is 0
    odometry_yaw_rad: np.ndarray  # (N,), the first one is 0
    travelled_m: np.ndarray  # (N,), exact

    def __len__(self) -> int:
        return len(self.stamps_ns)

    def view(self, index: int) -> View:
        """Pose number `index` for the renderer."""
        x, y, z = map(float, self.positions_m[index])
        roll, pitch, yaw = map(float, self.angles_rad[index])
        return View(x, y, yaw, z, pitch, roll)

    @property
    def quaternions(self) -> np.ndarray:
        """Exact rotations (N, 4) as x, y, z, w."""
        return np.array([self.view(k).quaternion() for k in range(len(self))])

    @property
    def odometry_quaternions(self) -> np.ndarray:
        """Rotations (N, 4) of the odometry as x, y, z, w."""
        half = self.odometry_yaw_rad / 2
        return np.column_stack([np.zeros((len(half), 2)), np.sin(half), np.cos(half)])

    @property
    def poses(self) -> list[Pose]:
        """Exact poses of the base in the town."""
        return _poses(self.positions_m, self.quaternions)

    @property
    def odometry(self) -> list[Pose]:
        """Poses of the base in the odometry frame, drifting."""
        return _poses(self.odometry_m, self.odometry_quaternions)


def _poses(positions_m: np.ndarray, quaternions: np.ndarray) -> list[Pose]:
    from vpr_ros.records import Pose  # needs scipy, which rendering alone does not

    pairs = zip(positions_m.tolist(), quaternions.tolist(), strict=True)
    return [Pose(tuple(p), tuple(q)) for p, q in pairs]


def plan_drive(
    town: Town,
    session: Session,
    rng: np.random.Generator,
    length_m: float = 500.0,
    route: Route | None = None,
    speed_m_s: float = 6.5,
    rate_hz: float = 10.0,
    start_ns: int = START_NS,
    camera: Camera = SMALL_CAMERA,
    drift: Drift = USUAL_DRIFT,
) -> Drive:
    """Drive a route, or a walk by chance of about `length_m` with many revisits.

    Raises:
        ConfigError: a length, speed or rate that is not positive, or a route along no street.
    """
    _check_positive(length_m=length_m, speed_m_s=speed_m_s, rate_hz=rate_hz)
    if route is None:
        first = int(rng.integers(len(town.plan.crossings_m)))
        route = walk(town.plan, rng, length_m + 40.0, [first], revisit=0.8)
    _check_route(town.plan, route)
    path = _path(town.plan, route, session.lane_offset_m)
    travelled, curvature = _curvature(path)
    kept = travelled <= length_m
    seconds = _seconds(travelled[kept], curvature[kept], speed_m_s)
    stamps_s = np.arange(0.0, seconds[-1], 1.0 / rate_hz)
    along = np.interp(stamps_s, seconds, travelled[kept])
    positions, angles = _poses_along(path, travelled, along, session, rng)
    odometry, odometry_yaw = _drifted(positions, angles[:, 2], rng, drift)
    stamps = start_ns + np.rint(stamps_s * 1e9).astype(np.int64)
    return Drive(session, camera, route, stamps, positions, angles, odometry, odometry_yaw, along)


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < np.inf:
            raise ConfigError(f'a drive needs a positive {name}, found {value!r}')


def _check_route(plan: Plan, route: Route) -> None:
    if len(route) < 2:
        raise ConfigError(f'a route needs at least two crossings, found {len(route)}')
    neighbours = plan.neighbours()
    for here, after in zip(route[:-1], route[1:], strict=True):
        if after not in neighbours.get(here, ()):
            raise ConfigError(
                f'no street joins crossings {here} and {after}; a route names neighbours only'
            )


def _path(plan: Plan, route: Route, lane_offset_m: float) -> np.ndarray:
    """Points (M, 2) about every `STEP_M` with rounded turns, shifted into the lane."""
    corners = plan.crossings_m[route]
    ends = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
    s = np.arange(0.0, ends[-1], STEP_M)
    middle = np.column_stack([np.interp(s, ends, corners[:, k]) for k in (0, 1)])
    for _ in range(2):
        middle = _smoothed(middle)
    ahead = np.gradient(middle, axis=0)
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    return middle + lane_offset_m * np.column_stack([-ahead[:, 1], ahead[:, 0]])


def _smoothed(path: np.ndarray) -> np.ndarray:
    """Running mean that runs straight on at both ends."""
    half = int(CORNER_M / STEP_M / 2) // 2 * 2
    before = 2 * path[0] - path[half:0:-1]
    after = 2 * path[-1] - path[-2 : -half - 2 : -1]
    total = np.cumsum(np.concatenate([[[0.0, 0.0]], before, path, after]), axis=0)
    window = 2 * half + 1
    return (total[window:] - total[:-window]) / window


def _curvature(path: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance travelled and curvature (1/m) at each point of a path."""
    steps = np.diff(path, axis=0)
    travelled = np.concatenate([[0.0], np.cumsum(np.linalg.norm(steps, axis=1))])
    heading = np.unwrap(np.arctan2(*np.gradient(path, axis=0).T[::-1]))
    return travelled, np.abs(np.gradient(heading, travelled))


def _seconds(travelled_m: np.ndarray, curvature: np.ndarray, speed_m_s: float) -> np.ndarray:
    """Time at which each point is reached: slower in turns, braking and gaining speed gently."""
    speed = np.minimum(speed_m_s, np.sqrt(SIDEWAYS_M_S2 / np.maximum(curvature, 1e-6)))
    steps = np.diff(travelled_m)
    for order in (range(1, len(speed)), range(len(speed) - 2, -1, -1)):
        for k in order:
            other = k - 1 if order.step > 0 else k + 1
            reached = np.sqrt(speed[other] ** 2 + 2 * FORWARD_M_S2 * steps[min(k, other)])
            speed[k] = min(speed[k], reached)
    between = 0.5 * (speed[1:] + speed[:-1])
    return np.concatenate([[0.0], np.cumsum(steps / between)])


def _sway(rng: np.random.Generator, along_m: np.ndarray, period_m: float) -> np.ndarray:
    """A smooth signal of unit deviation over the distance travelled."""
    knots = np.arange(0.0, along_m[-1] + 2 * period_m, period_m)
    values = rng.standard_normal(len(knots))
    share = np.interp(along_m, knots, np.arange(len(knots)))
    low = share.astype(int)
    blend = 0.5 - 0.5 * np.cos(np.pi * (share - low))
    return values[low] + blend * (values[np.minimum(low + 1, len(knots) - 1)] - values[low])


def _poses_along(
    path: np.ndarray,
    travelled_m: np.ndarray,
    along_m: np.ndarray,
    session: Session,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Positions (N, 3) and angles (N, 3); the base sways a little in its lane."""
    tangent = np.gradient(path, axis=0)
    heading = np.unwrap(np.arctan2(tangent[:, 1], tangent[:, 0]))
    yaw = np.interp(along_m, travelled_m, heading)
    sideways = 0.15 * _sway(rng, along_m, 25.0)
    x = np.interp(along_m, travelled_m, path[:, 0]) - sideways * np.sin(yaw)
    y = np.interp(along_m, travelled_m, path[:, 1]) + sideways * np.cos(yaw)
    yaw = yaw + session.heading_offset_rad + 0.01 * _sway(rng, along_m, 12.0)
    roll, pitch = 0.005 * _sway(rng, along_m, 6.0), 0.006 * _sway(rng, along_m, 4.0)
    return np.column_stack([x, y, np.zeros_like(x)]), np.column_stack([roll, pitch, yaw])


def _drifted(
    positions_m: np.ndarray, yaw_rad: np.ndarray, rng: np.random.Generator, drift: Drift
) -> tuple[np.ndarray, np.ndarray]:
    """Integrate the true motion with errors in length and heading, from the identity."""
    steps = np.diff(positions_m[:, :2], axis=0)
    c, s = np.cos(yaw_rad[:-1]), np.sin(yaw_rad[:-1])
    ahead, aside = c * steps[:, 0] + s * steps[:, 1], c * steps[:, 1] - s * steps[:, 0]
    length = np.hypot(ahead, aside)
    scale = 1.0 + drift.scale * rng.standard_normal()
    turns = np.diff(yaw_rad) + drift.yaw_bias_rad_per_m * rng.standard_normal() * length
    turns += drift.yaw_walk_rad_per_sqrt_m * np.sqrt(length) * rng.standard_normal(len(length))
    yaw = np.concatenate([[0.0], np.cumsum(turns)])
    c, s = scale * np.cos(yaw[:-1]), scale * np.sin(yaw[:-1])
    moved = np.column_stack([c * ahead - s * aside, s * ahead + c * aside, np.zeros_like(ahead)])
    return np.concatenate([np.zeros((1, 3)), np.cumsum(moved, axis=0)]), yaw
