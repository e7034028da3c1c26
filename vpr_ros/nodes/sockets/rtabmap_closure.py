"""A loop closure as it comes, looked at: whether RTAB-Map may be asked for a link at all."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vpr_msgs.msg import LoopClosure
from vpr_ros.config.sockets import RtabmapConfig
from vpr_ros.maps.dead_reckoning import Uncertain
from vpr_ros.maps.pose_graph import edge_of
from vpr_ros.nodes.outputs.messages import NS, stamp_ns
from vpr_ros.nodes.sockets.rtabmap_edge import information, is_pose
from vpr_ros.records import Pose, PoseKind

KINDS = {int(kind): kind for kind in PoseKind}


@dataclass(frozen=True)
class Closure:
    """A closure that is worth a link: pose of the older image's base in the newer one's."""

    id: int
    from_ns: int
    to_ns: int
    frame: str
    stated: Uncertain = field(repr=False)


def read(message: LoopClosure, config: RtabmapConfig, now_ns: int) -> Closure | str:
    """The closure of a message, or one sentence that says why it is none for RTAB-Map."""
    kind, least = KINDS.get(message.pose_kind), PoseKind[config.least_kind.upper()]
    if not kind:
        return 'it has no relative pose, and a link needs one'
    if kind < least:
        return f'its relative pose is {_words(kind)}, and least_kind asks for {_words(least)}'
    stated = _stated(kind, message)
    if stated is None:
        return 'its relative pose or covariance is not sound, nothing was sent'
    from_ns, to_ns = stamp_ns(message.from_stamp), stamp_ns(message.to_stamp)
    age_s = (now_ns - from_ns) / NS
    if age_s > config.max_age_s:
        return (
            f'its image is {age_s:.1f} s old, more than max_age_s {config.max_age_s:g}: RTAB-Map '
            'may have forgotten it (with recordings, set use_sim_time)'
        )
    return Closure(message.closure_id, from_ns, to_ns, message.header.frame_id, stated)


def _stated(kind: PoseKind, message: LoopClosure) -> Uncertain | None:
    """What the closure is worth as an edge; None: it is not sound."""
    point, q = message.relative_pose.pose.position, message.relative_pose.pose.orientation
    pose = Pose((point.x, point.y, point.z), (q.x, q.y, q.z, q.w))
    covariance = np.array(message.relative_pose.covariance, np.float64).reshape(6, 6)
    if not is_pose(pose) or information(Uncertain(pose, covariance)) is None:
        return None
    worth = edge_of(kind, pose, covariance)
    return None if worth is None else worth.stated


def _words(kind: PoseKind) -> str:
    return kind.name.lower().replace('_', ' ')
