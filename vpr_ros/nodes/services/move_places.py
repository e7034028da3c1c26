"""Places of the live session where a closed loop says that they are. In the worker's thread."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from vpr_msgs.srv import MovePlaces
from vpr_ros.errors import MapWriteError, VprError
from vpr_ros.nodes.outputs.messages import stamp_ns
from vpr_ros.nodes.responder import Responder
from vpr_ros.nodes.services.map_calls import WrongModeError
from vpr_ros.records import Place, Pose

Answer = MovePlaces.Response
CODES: dict[type[Exception], int] = {
    WrongModeError: Answer.WRONG_MODE,
    MapWriteError: Answer.NOT_WRITTEN,
}


class PathError(VprError):
    """What is given is no path: numbers, stamps or poses."""


CODES[PathError] = Answer.INVALID_DATA


def move_places(responder: Responder, request: MovePlaces.Request) -> MovePlaces.Response:
    """Give the places of the live session new poses, all or none.

    Args:
        responder: of the node, in mode map or both.
        request: stamps and poses of the robot in the frame of the map.

    Returns:
        The answer; never raises.
    """
    response = Answer()
    try:
        response.moved = _moved(responder, request)
        response.message = f'{response.moved} places of the live session moved'
    except Exception as error:
        named = (code for kind, code in CODES.items() if isinstance(error, kind))
        response.result = next(named, Answer.UNDEFINED)
        response.message = str(error) if isinstance(error, VprError) else f'it failed: {error!r}'
        if not isinstance(error, VprError):
            responder.failed(error)
    return response


def _moved(responder: Responder, request: MovePlaces.Request) -> int:
    if responder.config.mode == 'localize':
        raise WrongModeError('in mode localize the map is only read: no place can be moved')
    stamps, poses = read_path(request)
    recognizer = responder.recognizer
    ours = [x for x in recognizer.place_map.places if x.session_id == recognizer.session_id]
    moved = interpolated(stamps, poses, ours)
    if moved:
        recognizer.place_map.move(moved)
        recognizer.place_map.commit()
        recognizer.retune(recognizer.config)  # where places lie is known to every stage
        responder.map_changed()
    return len(moved)


def read_path(request: MovePlaces.Request) -> tuple[np.ndarray, np.ndarray]:
    """Stamps (n,) int64 and poses (n, 7), x, y, z and unit quaternion.

    Raises:
        PathError: numbers differ, stamps do not rise, or a pose is none.
    """
    stamps = np.array([stamp_ns(x) for x in request.stamps], np.int64)
    poses = np.array([_row(x) for x in request.poses], np.float64).reshape(-1, 7)
    if len(stamps) != len(poses) or not len(stamps):
        raise PathError(
            f'expected as many poses as stamps, and some: found {len(poses)} and {len(stamps)}'
        )
    if not all(a < b for a, b in pairwise(stamps)):
        raise PathError('expected stamps that rise: sort them, and give each of them once')
    norms = np.linalg.norm(poses[:, 3:], axis=1)
    if not np.isfinite(poses).all() or norms.min() < 1e-3:
        raise PathError('expected finite poses with quaternions: found one that is neither')
    poses[:, 3:] /= norms[:, None]
    return stamps, poses


def interpolated(stamps: np.ndarray, poses: np.ndarray, places: list[Place]) -> dict[int, Pose]:
    """Poses of the places whose stamps lie within the path, by their ids.

    Args:
        stamps: (n,) int64, rising.
        poses: (n, 7), x, y, z and unit quaternion.
        places: in any order; those without a pose keep none.
    """
    within = [x for x in places if x.pose and stamps[0] <= x.stamp_ns <= stamps[-1]]
    if not within:
        return {}
    seconds = 1e-9 * (stamps - stamps[0])
    at = 1e-9 * (np.array([x.stamp_ns for x in within], np.int64) - stamps[0])
    xyz = np.stack([np.interp(at, seconds, poses[:, k]) for k in range(3)], axis=1)
    turns = Rotation.from_quat(poses[:, 3:])
    quaternions = Slerp(seconds, turns)(at) if len(turns) > 1 else turns
    return {
        place.id: Pose(tuple(x), tuple(q))
        for place, x, q in zip(within, xyz.tolist(), quaternions.as_quat().tolist(), strict=True)
    }


def _row(pose) -> tuple[float, ...]:
    p, q = pose.position, pose.orientation
    return p.x, p.y, p.z, q.x, q.y, q.z, q.w
