"""Discrete Bayes filter over the places of a map, with a state for "at none of them".

Views in a row are not independent: adjacent images share what they show, and their errors. Until
the robot has come a whole step, views therefore replace each other instead of adding up, and each
is evidence as far as it differs from the last one that was kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from vpr_ros.config import TemporalConfig
from vpr_ros.recognition.neighbourhood import NEIGHBOURHOOD_M, NS, PlaceArrays
from vpr_ros.recognition.over_time.place_motion import PlaceMotion
from vpr_ros.recognition.over_time.query import Support, TemporalQuery, novelty, standardised
from vpr_ros.records import Pose

MOST_GAIN = 100.0  # how much likelier one view makes a place, at most
MOST_ODDS = 4.0  # of the places it favours against all others, from an even belief
OFF_MAP = 0.5  # first belief that the robot is at no place of the map
CROSSING = 0.05  # that a robot leaves the map, or comes to it, between two queries
STEP_S = 0.5  # a step in time, where the motion is not known
STEP_RAD = 0.26  # a turn that shows another view
GAP_S = 10.0  # after a longer pause without odometry nothing is known
FASTEST_M_S = 60.0  # a faster motion is a jump of the odometry
UNLIKELY, LIKELY = 0.05, 0.5  # masses of a place contradicted by a belief
CONTRADICTIONS = 4  # views in a row against the belief: the robot was carried off
CONTRADICTION_S = 0.25  # those closer in time count as one
SURE_SIGMA = 0.5  # a contradicting view stands out this much more than chance would let it
ROUNDING = 1e-6


@dataclass(frozen=True)
class _Step:
    """The belief after the last view that was kept."""

    belief: np.ndarray  # (N,)
    off_map: float
    z: np.ndarray  # (N,)
    stamp_ns: int
    pose: Pose | None


class PlaceFilter:
    """Belief in each place given all queries so far.

    A step moves the belief as the robot did and multiplies it with the likelihood `1 + gain *
    exp(sharpness * (z - z_best))`, z being the similarity in robust standard deviations. The gain
    is bounded: one view alone makes neither a place of a small map nor one of a large map certain.
    To be at no place of the map is as likely as a place that is as similar as the most similar of
    N unrelated ones is expected to be.
    """

    def __init__(self, config: TemporalConfig, neighbourhood_m: float = NEIGHBOURHOOD_M) -> None:
        """Bind settings.

        Args:
            config: settings.
            neighbourhood_m: places this near to each other are the same answer.
        """
        self.config = config
        self.neighbourhood_m = neighbourhood_m
        self.places = PlaceArrays()
        self.motion = PlaceMotion(self.places, config.motion_sigma_m, config.motion_share)
        self.reset()

    def reset(self) -> None:
        """Forget the past: every place is as likely as the next."""
        self._last: _Step | None = None
        self._newest_ns: int | None = None  # of any query
        self._against, self._against_ns = 0, 0

    def update(self, query: TemporalQuery) -> Support:
        """Take one query; the belief is `mass` about `query.best_row`."""
        another = self.places.follow(query.places)
        if another:
            self.motion.forget()
        forgotten = self._forget_if_lost(query, another)
        z = standardised(query.similarities)
        if not np.isfinite(z).any():
            return Support(query.best_row, 0.0, reset=forgotten)
        progress, belief, off_map = self._predict(query, z)
        if self._last is not None and self._carried_off(query, z, belief):
            self.reset()
            self._newest_ns, forgotten = query.stamp_ns, True
            progress, belief, off_map = self._predict(query, z)
        weight = 1.0 if self._last is None else novelty(z, self._last.z)
        belief, off_map = self._observe(z, belief, off_map, weight)
        if progress >= 1.0:
            self._last = _Step(belief, off_map, z, query.stamp_ns, query.pose)
        return self._support(query, belief, forgotten)

    def _forget_if_lost(self, query: TemporalQuery, another: bool) -> bool:
        """Reset after a jump back in time, a pause without odometry, or to another map."""
        last, newest_ns = self._last, self._newest_ns
        lost = another
        if newest_ns is not None:
            pause_s = (query.stamp_ns - newest_ns) / NS
            odometry = query.pose is not None and last is not None and last.pose is not None
            lost |= pause_s < 0.0 or (pause_s > GAP_S and not odometry)
        if lost:
            self.reset()
        self._newest_ns = query.stamp_ns
        return lost

    def _predict(self, query: TemporalQuery, z: np.ndarray) -> tuple[float, np.ndarray, float]:
        """Steps done since the last view that was kept, and the belief before this one."""
        admissible = np.isfinite(z)
        even = admissible * (1.0 - OFF_MAP) / admissible.sum()
        if self._last is None:
            return 1.0, even, OFF_MAP
        before = np.zeros(len(z))
        before[: len(self._last.belief)] = self._last.belief
        elapsed_s = (query.stamp_ns - self._last.stamp_ns) / NS
        moved_m = self._moved_m(query.pose, elapsed_s)
        if moved_m is None:
            progress = elapsed_s / STEP_S
            belief = self.motion.by_time(before, elapsed_s)
        else:
            assert query.pose is not None and self._last.pose is not None
            turned = query.pose.angle_rad(self._last.pose) / STEP_RAD
            belief = self.motion.by_distance(before, moved_m, elapsed_s)
            progress = max(moved_m / self.motion.spacing_m, turned)
        belief = np.where(admissible, belief, 0.0)
        # What moved on to no place, or to one that may not be matched, left the map.
        off_map = max(0.0, 1.0 - float(belief.sum()))
        jump = self.config.jump_probability
        entering = CROSSING * off_map / (1.0 - OFF_MAP)
        belief = (1.0 - jump) * ((1.0 - CROSSING) * belief + entering * even) + jump * even
        return progress, belief, max(0.0, 1.0 - float(belief.sum()))

    def _moved_m(self, pose: Pose | None, elapsed_s: float) -> float | None:
        """Length of the motion since the last view that was kept; None: not known."""
        if pose is None or self._last is None or self._last.pose is None:
            return None
        moved_m = pose.distance_m(self._last.pose)
        if not math.isfinite(moved_m) or moved_m > FASTEST_M_S * elapsed_s + self.motion.spacing_m:
            return None
        return moved_m

    def _observe(
        self, z: np.ndarray, belief: np.ndarray, off_map: float, weight: float
    ) -> tuple[np.ndarray, float]:
        """Belief after a view of a weight in [0, 1]; sums to one."""
        admissible = np.isfinite(z)
        chance = chance_sigma(int(admissible.sum()))
        best = max(chance, float(np.nanmax(z)))
        likeness = np.exp(self.config.sharpness * (np.where(admissible, z, -np.inf) - best))
        off_likeness = math.exp(self.config.sharpness * (chance - best))
        gain = min(MOST_GAIN, MOST_ODDS * admissible.sum() / max(likeness.sum(), off_likeness))
        belief = belief * (1.0 + gain * likeness) ** weight
        off_map *= (1.0 + gain * off_likeness) ** weight
        total = float(belief.sum()) + off_map
        return belief / total, off_map / total

    def _carried_off(self, query: TemporalQuery, z: np.ndarray, belief: np.ndarray) -> bool:
        """Whether enough views in a row contradict a belief that is sure of another place."""
        seen, believed = int(np.nanargmax(z)), int(belief.argmax())
        sure = z[seen] >= chance_sigma(int(np.isfinite(z).sum())) + SURE_SIGMA
        if (
            not sure
            or self._mass(belief, believed) < LIKELY
            or self._mass(belief, seen) > UNLIKELY
        ):
            self._against = 0
        elif not self._against or query.stamp_ns - self._against_ns >= CONTRADICTION_S * NS:
            self._against, self._against_ns = self._against + 1, query.stamp_ns
        return self._against >= CONTRADICTIONS

    def _mass(self, belief: np.ndarray, row: int) -> float:
        near = self.places.neighbourhood(row, self.neighbourhood_m)
        return min(1.0, float(belief[near].sum()))

    def _support(self, query: TemporalQuery, belief: np.ndarray, forgotten: bool) -> Support:
        row, best = int(belief.argmax()), query.best_row
        if best < 0:
            return Support(row, 0.0, self._mass(belief, row), forgotten)
        if belief[best] >= (1.0 - ROUNDING) * belief[row]:
            row = best  # of equals, the one that the other stages believe in
        return Support(row, self._mass(belief, best), self._mass(belief, row), forgotten)


def chance_sigma(count: int) -> float:
    """Expected largest of `count` standard normal values (Blom's approximation)."""
    return float(ndtri((count - 0.375) / (count + 0.25)))
