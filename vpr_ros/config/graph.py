"""Settings of pose graphs: what odometry is worth, and when a closure is believed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vpr_ros.config.options import option


@dataclass(frozen=True)
class GraphConfig:
    """How a trajectory is corrected by its loop closures.

    The noise of odometry is a random walk: standard deviations grow with the root of the way and
    of the turn. The z axis of its frame points up (REP-103).
    """

    translation_noise_m: float = option(
        0.05, 'standard deviation of odometry after one metre, along each axis', 1e-6, 1e3
    )
    rotation_noise_rad: float = option(
        0.01, 'standard deviation of its heading after one metre', 1e-6, math.pi
    )
    tilt_noise_rad: float = option(
        0.002, 'standard deviation of its roll and pitch after one metre', 1e-6, math.pi
    )
    turn_noise_rad: float = option(
        0.02, 'standard deviation of its heading after a turn of one radian', 1e-6, math.pi
    )
    robust: str = option(
        'cauchy',
        'how closures that fit are told from false ones; cauchy: the further off, the less their '
        'weight; none: all are believed',
        choices=('cauchy', 'none'),
    )
    kernel_width: float = option(
        2.0, 'cauchy, and every closure taken live: its width in standard deviations', 0.1, 100.0
    )
    gate_sigmas: float = option(
        4.0,
        'a closure further than this from what odometry and the closures before allow is rejected',
        0.5,
        100.0,
    )
    look_alike_odds: float = option(
        20.0,
        'live: a closure waits until odometry fits its place so many times better than one that '
        'looks like it elsewhere on the drive',
        1.0,
        1e6,
    )
    longest_copy_m: float = option(
        300.0,
        'live: closures in a row over more way than this are of no street that looks like '
        'another: they are believed without odometry, and overrule it',
        1.0,
        1e6,
    )
    keyframe_distance_m: float = option(
        1.0, 'live: a new node of the graph after this distance', 0.01, 1e4
    )
    keyframe_angle_rad: float = option(
        0.5, 'live: a new node of the graph after this turn', 0.01, math.pi
    )
