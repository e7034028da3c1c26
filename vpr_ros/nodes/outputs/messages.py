"""Messages to our words and back. Pure functions; no node is needed for any of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import (
    Pose as PoseMessage,
)
from geometry_msgs.msg import (
    PoseStamped,
    PoseWithCovariance,
    PoseWithCovarianceStamped,
)
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from vpr_msgs.msg import GlobalDescriptor, LoopClosure, PlaceCandidate, PlaceMatch
from vpr_ros.bags.poses import POSES
from vpr_ros.config import NodeConfig
from vpr_ros.maps.place_map import MapInfo
from vpr_ros.nodes.inputs.newest import Arrival
from vpr_ros.recognition.geometry.verification import passed
from vpr_ros.records import Candidate, Pose, PoseKind, Recognition

NS = 1_000_000_000
IMAGE_TYPES = {'raw': Image, 'compressed': CompressedImage}
POSE_TYPES = {
    'odometry': Odometry,
    'pose': PoseStamped,
    'pose_with_covariance': PoseWithCovarianceStamped,
}
METHOD = 'retrieval'
NOWHERE = Pose((0.0, 0.0, 0.0))  # where a message has a pose and we have none to state


def type_name(type_: type) -> str:
    """`package/msg/Name` of a message class."""
    return f'{type_.__module__.split(".")[0]}/msg/{type_.__name__}'


@dataclass(frozen=True)
class Signature:
    """Who answers, with which map and model: what every answer states."""

    config: NodeConfig
    model_id: str
    threshold: float
    map: MapInfo


def stamp_ns(time: Any) -> int:
    """Nanoseconds of a builtin_interfaces/Time."""
    return time.sec * NS + time.nanosec


def to_time(nanoseconds: int) -> Time:
    """The inverse of `stamp_ns`."""
    seconds, rest = divmod(nanoseconds, NS)
    return Time(sec=seconds, nanosec=rest)


def pose_from_message(message: Odometry | PoseStamped | PoseWithCovarianceStamped) -> Pose | None:
    """Pose of a message, its quaternion normalised; None when it is not a finite pose."""
    point, q = POSES[type_name(type(message))](message)
    position = (point.x, point.y, point.z)
    quaternion = np.array([q.x, q.y, q.z, q.w])
    norm = np.linalg.norm(quaternion)
    if not np.isfinite([*position, norm]).all() or norm < 1e-3:
        return None
    return Pose(position, tuple(map(float, quaternion / norm)))


def to_pose(pose: Pose) -> PoseMessage:
    """A geometry_msgs/Pose."""
    message = PoseMessage()
    message.position.x, message.position.y, message.position.z = pose.position_m
    q = message.orientation
    q.x, q.y, q.z, q.w = pose.quaternion
    return message


def uncertain(pose: Pose, config: NodeConfig) -> PoseWithCovariance:
    """A pose that was copied from the map and not measured: its covariance is wide."""
    variances = [config.position_sigma_m**2] * 3 + [config.rotation_sigma_rad**2] * 3
    return PoseWithCovariance(pose=to_pose(pose), covariance=np.diag(variances).ravel())


def place_match(
    recognition: Recognition, header: Header, arrival: Arrival, signature: Signature
) -> PlaceMatch:
    """The answer to one image.

    Args:
        recognition: the outcome.
        header: of the image.
        arrival: how long the image waited and how many were dropped before it.
        signature: who answers.
    """
    config, timings = signature.config, recognition.timings
    match = _signed(header, signature)
    match.query_id = recognition.query_id
    match.status = int(recognition.verdict)
    match.status_text = recognition.reason
    match.candidates = _candidates(recognition, config)
    match.camera = recognition.best.seen_by if recognition.best else ''
    match.consistent_frames = recognition.consistent_frames
    match.probability = recognition.probability
    match.ambiguity = recognition.ambiguity
    if recognition.accepted and recognition.accepted.place.pose:
        match.pose_valid = True
        match.pose = _pose_in_map(recognition, recognition.accepted, config)
    if recognition.place:
        match.recorded = True
        match.recorded_place_id = recognition.place.id
    match.images_dropped = arrival.dropped
    match.queue_ms = arrival.waited_ms
    match.preprocess_ms = timings.preprocess_ms
    match.inference_ms = timings.inference_ms
    match.search_ms = timings.search_ms
    match.rerank_ms = timings.rerank_ms
    match.verify_ms = timings.verify_ms
    match.decide_ms = timings.decide_ms
    return match


def _signed(header: Header, signature: Signature) -> PlaceMatch:
    config, info = signature.config, signature.map
    return PlaceMatch(
        header=Header(stamp=header.stamp, frame_id=header.frame_id or config.camera_frame),
        map_frame=info.frame,
        map_uuid=info.uuid,
        map_revision=info.revision,
        model_id=signature.model_id,
        similarity_threshold=signature.threshold,
        required_frames=config.decision.consistent_frames,
        pose=uncertain(NOWHERE, config),
    )


def descriptors(recognition: Recognition, match: PlaceMatch) -> list[GlobalDescriptor]:
    """The descriptor of each camera's view, rounded to fp16.

    Args:
        recognition: with descriptors attached.
        match: its message.
    """
    return [
        GlobalDescriptor(
            header=match.header,
            query_id=match.query_id,
            camera=camera,
            model_id=match.model_id,
            dim=len(values),
            encoding=GlobalDescriptor.FLOAT16,
            normalized=True,
            data=np.asarray(values, '<f2').tobytes(),
        )
        for camera, values in recognition.descriptors.items()
    ]


def pose_of(match: PlaceMatch) -> PoseWithCovarianceStamped:
    """Where an accepted match says that the robot is, in the frame of the map."""
    header = Header(stamp=match.header.stamp, frame_id=match.map_frame)
    return PoseWithCovarianceStamped(header=header, pose=match.pose)


def loop_closure(
    recognition: Recognition,
    match: PlaceMatch,
    closure_id: int,
    session_id: int | None,
    signature: Signature,
) -> LoopClosure:
    """The edge of an accepted match, keyed by the stamps of query and place.

    Args:
        recognition: accepted.
        match: its message.
        closure_id: number of this closure.
        session_id: the session that is being recorded, if any.
        signature: who answers.
    """
    place, best = match.candidates[0], recognition.candidates[0]
    own = place.session_id == session_id
    kind, method, pose = _relative(recognition, best, signature.config)
    return LoopClosure(
        header=Header(stamp=match.header.stamp, frame_id=signature.config.base_frame),
        closure_id=closure_id,
        kind=LoopClosure.KIND_INTRA_SESSION if own else LoopClosure.KIND_INTER_SESSION,
        from_id=match.query_id,
        from_stamp=match.header.stamp,
        to_id=place.place_id,
        to_stamp=place.stamp,
        to_session=place.session_id,
        map_uuid=match.map_uuid,
        model_id=match.model_id,
        pose_kind=kind,
        method=method,
        relative_pose=pose,
        similarity=place.similarity,
        consistent_frames=match.consistent_frames,
        matches=place.matches,
        inliers=place.inliers,
        inlier_ratio=place.inlier_ratio,
        probability=match.probability,
    )


def _relative(
    recognition: Recognition, best: Candidate, config: NodeConfig
) -> tuple[int, str, PoseWithCovariance]:
    """Kind, method and value of the edge: measured where geometry could, else assumed."""
    found = best.verification
    if found is not None and found.relative is not None:
        measured = found.relative
        message = PoseWithCovariance(
            pose=to_pose(measured.pose), covariance=measured.covariance.ravel()
        )
        return int(measured.kind), found.model, message
    kind = PoseKind.NONE if best.place.pose is None else PoseKind.FROM_MAP
    return int(kind), METHOD, _assumed(recognition, recognition.assumed or NOWHERE, config)


def _assumed(recognition: Recognition, pose: Pose, config: NodeConfig) -> PoseWithCovariance:
    """A pose that nobody measured; where cameras differ, nothing is known of the rotation."""
    message = uncertain(pose, config)
    if recognition.assumed is None:
        message.covariance[21] = message.covariance[28] = message.covariance[35] = math.pi**2
    return message


def _pose_in_map(
    recognition: Recognition, best: Candidate, config: NodeConfig
) -> PoseWithCovariance:
    """Where the robot is: measured against the place where that was metric, else assumed there."""
    assert best.place.pose is not None
    found = best.verification.relative if best.verification else None
    if found is None or found.kind is not PoseKind.METRIC:
        assumed, here = recognition.assumed, best.place.pose
        if assumed not in (None, NOWHERE):
            here = here @ assumed.inverse()
        return _assumed(recognition, here, config)
    here = best.place.pose @ found.pose.inverse()  # X_from = X_to * T^-1
    turned = np.kron(np.eye(2), here.rotation().as_matrix())
    covariance = turned @ found.covariance @ turned.T  # from the base's axes to the map's
    return PoseWithCovariance(pose=to_pose(here), covariance=covariance.ravel())


def _verified(candidate: Candidate, config: NodeConfig) -> int:
    found = candidate.verification
    if found is None:
        tried = candidate.tried
        return PlaceCandidate.VERIFY_UNAVAILABLE if tried else PlaceCandidate.VERIFY_NOT_TRIED
    if passed(found, config.verification):
        return PlaceCandidate.VERIFY_PASSED
    return PlaceCandidate.VERIFY_FAILED


def _candidates(recognition: Recognition, config: NodeConfig) -> list[PlaceCandidate]:
    return [_candidate(*ranked, config) for ranked in enumerate(recognition.candidates)]


def _candidate(rank: int, candidate: Candidate, config: NodeConfig) -> PlaceCandidate:
    place, found = candidate.place, candidate.verification
    return PlaceCandidate(
        place_id=place.id,
        session_id=place.session_id,
        camera=place.camera,
        stamp=to_time(place.stamp_ns),
        seen_by=candidate.seen_by,
        rank=rank,
        similarity=candidate.similarity,
        score=math.nan if candidate.score is None else candidate.score,
        verification=_verified(candidate, config),
        matches=found.matches if found else 0,
        inliers=found.inliers if found else 0,
        inlier_ratio=found.ratio if found else 0.0,
        place_pose_valid=place.pose is not None,
        place_pose=uncertain(place.pose or NOWHERE, config),
    )
