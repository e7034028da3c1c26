"""How a place becomes a row of a map file and comes back."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from vpr_ros.errors import MapError
from vpr_ros.records import Place, Pose

COLUMNS = (
    'id, session_id, stamp_ns, camera, x, y, z, qx, qy, qz, qw, travelled_m'  # as Place reads them
)
PUT_PLACE = (
    'INSERT INTO places (session_id, stamp_ns, camera, x, y, z, qx, qy, qz, qw, travelled_m, '
    'thumbnail, descriptor) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)'
)
MOVE_PLACE = 'UPDATE places SET x = ?, y = ?, z = ?, qx = ?, qy = ?, qz = ?, qw = ? WHERE id = ?'
UNIT = 1e-3  # by which the length of a quaternion may be off
LEAST_LENGTH = 1e-9  # of a quaternion that says anything


def is_sound(pose: Pose) -> bool:
    """Whether a pose is finite and its quaternion of unit length."""
    length = float(np.linalg.norm(pose.quaternion))
    return bool(np.isfinite(pose.position_m).all()) and abs(length - 1.0) < UNIT


def sound_pose(pose: Pose | None) -> Pose | None:
    """A pose in numbers of Python, its quaternion of unit length; None where it is no pose."""
    if pose is None:
        return None
    x, y, z = map(float, pose.position_m)
    qx, qy, qz, qw = map(float, pose.quaternion)
    length = math.hypot(qx, qy, qz, qw)
    if not all(map(math.isfinite, (x, y, z, length))) or length < LEAST_LENGTH:
        return None
    if abs(length - 1.0) >= UNIT:
        qx, qy, qz, qw = (value / length for value in (qx, qy, qz, qw))
    return Pose((x, y, z), (qx, qy, qz, qw))


def plain(place: Place) -> Place:
    """A place in numbers of Python, as the file will give it back: SQLite takes NumPy's for bytes.

    Raises:
        MapError: its pose is not finite, or its quaternion of length 0.
    """
    pose, travelled_m = sound_pose(place.pose), place.travelled_m
    if pose is None and place.pose is not None:
        raise MapError(f'a place cannot have a pose that is none: {place.pose}')
    if travelled_m is not None:
        travelled_m = float(travelled_m) if math.isfinite(travelled_m) else None
    return replace(
        place, session_id=int(place.session_id), stamp_ns=int(place.stamp_ns), pose=pose,
        travelled_m=travelled_m,
    )  # fmt: skip


def place_row(place: Place, descriptor: np.ndarray, thumbnail: bytes | None) -> tuple[Any, ...]:
    """Values of a new row, without its id."""
    pose = place.pose
    coordinates = (None,) * 7 if pose is None else (*pose.position_m, *pose.quaternion)
    return (
        place.session_id, place.stamp_ns, place.camera, *coordinates, place.travelled_m,
        thumbnail, to_blob(descriptor),
    )  # fmt: skip


def to_blob(descriptor: np.ndarray) -> bytes:
    """A descriptor (D,) as a row has it."""
    return np.asarray(descriptor, dtype='<f2').tobytes()


def from_blobs(blobs: Iterable[bytes], dim: int) -> np.ndarray:
    """Descriptors (N, dim), float32, of N rows."""
    return np.frombuffer(b''.join(blobs), '<f2').reshape(-1, dim).astype(np.float32)


def as_stored(descriptor: np.ndarray) -> np.ndarray:
    """What the file will give back, so that a live map and a reopened one answer alike."""
    return descriptor.astype(np.float16).astype(np.float32)


def place_from_row(row: tuple[Any, ...]) -> Place:
    """The inverse of `place_row`, from the COLUMNS of a row."""
    id_, session_id, stamp_ns, camera, *pose, travelled_m = row
    known = pose[0] is not None
    return Place(
        id=id_,
        session_id=session_id,
        stamp_ns=stamp_ns,
        pose=Pose(tuple(pose[:3]), tuple(pose[3:])) if known else None,  # type: ignore[arg-type]
        camera=camera,
        travelled_m=travelled_m,
    )
