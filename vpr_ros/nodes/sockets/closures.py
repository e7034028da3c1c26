"""Closures as they are told, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped

from vpr_msgs.msg import LoopClosure
from vpr_ros.maps.pose_graph import Edge
from vpr_ros.nodes.outputs.messages import pose_from_message, stamp_ns
from vpr_ros.records import Pose, PoseKind

KINDS = {int(kind): kind for kind in PoseKind}


@dataclass(frozen=True)
class Closure:
    """An edge between two moments, as it was told."""

    id: int
    from_ns: int
    to_ns: int
    kind: PoseKind
    pose: Pose
    covariance: np.ndarray = field(repr=False, compare=False)  # (6, 6)


@dataclass(frozen=True)
class Answer:
    """What became of a closure, in one sentence."""

    closure_id: int
    accepted: bool
    reason: str
    pending: bool = False  # it waits for what decides it, and is answered again


@dataclass(frozen=True)
class Closed:
    """A closure between two keyframes."""

    closure: Closure
    edge: Edge = field(repr=False)


def read_closure(message: LoopClosure) -> Closure | str:
    """A closure in our words, or what is wrong with it."""
    kind = KINDS.get(message.pose_kind)
    if kind is None:
        return f'pose_kind {message.pose_kind} is not known'
    if kind is PoseKind.NONE:
        return 'it has no transform: nothing can be optimised with it'
    pose = pose_from_message(PoseWithCovarianceStamped(pose=message.relative_pose))
    if pose is None:
        return 'its relative pose is not finite'
    covariance = np.array(message.relative_pose.covariance, np.float64).reshape(6, 6)
    if wrong := wrong_covariance(covariance):
        return wrong
    stamps = stamp_ns(message.from_stamp), stamp_ns(message.to_stamp)
    if not all(stamps):
        return 'it lacks a stamp'
    return Closure(message.closure_id, *stamps, kind, pose, covariance)


def wrong_covariance(covariance: np.ndarray) -> str:
    """What keeps (6, 6) from being a covariance; empty: it is one."""
    if not np.isfinite(covariance).all():
        return 'its covariance is not finite'
    if not (np.diag(covariance) > 0.0).all():
        return 'its covariance has a diagonal that is not positive'
    if not np.allclose(covariance, covariance.T, rtol=1e-6, atol=1e-12):
        return 'its covariance is not symmetric'
    if np.linalg.eigvalsh(covariance)[0] <= 0.0:
        return 'its covariance is not positive definite'
    return ''
