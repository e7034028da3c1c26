"""A small map and answers about it, to be shown."""

import cv2
import numpy as np
from std_msgs.msg import Header

from vpr_ros.config import NodeConfig
from vpr_ros.maps.place_map import IN_MEMORY, PlaceMap
from vpr_ros.nodes.inputs.newest import Arrival
from vpr_ros.nodes.outputs.messages import Signature, place_match, to_time
from vpr_ros.records import Candidate, Place, Pose, Recognition, Verdict, Verification, View

STAMP_NS = 12_345_678_901
HEADER = Header(stamp=to_time(STAMP_NS), frame_id='map')


def thumbnail(colour=(40, 90, 160)):
    return cv2.imencode('.jpg', np.full((60, 80, 3), colour, np.uint8)[:, :, ::-1])[1].tobytes()


def small_map(posed=(True,) * 6, sessions=(1, 1, 1, 2, 2, 2)):
    """Places along x, ten metres apart, of two sessions; not all need to have a pose."""
    place_map = PlaceMap.create(IN_MEMORY, 'test', 'ab' * 32, 8)
    for session_id in sorted(set(sessions)):
        assert place_map.add_session('s') == session_id
    for k, (has_pose, session_id) in enumerate(zip(posed, sessions, strict=True)):
        add_place(place_map, k, session_id, has_pose)
    return place_map


def add_place(place_map, k, session_id=1, has_pose=True):
    pose = Pose((10.0 * k, 1.0 * session_id, 0.5), (0.0, 0.0, 0.6, 0.8)) if has_pose else None
    return place_map.add(
        Place(0, session_id, k, pose), np.eye(8, dtype=np.float32)[k], thumbnail()
    )


def verified(inliers, matches):
    x, y = np.arange(matches) % 7 * 11, np.arange(matches) // 7 * 11
    points = np.stack([x, y], axis=1).astype(np.float32)
    inlier = np.arange(matches) < inliers
    return Verification('sift', 'essential', points, points, inlier, (120, 160), (60, 80))


def recognition(place_map, verdict=Verdict.ACCEPTED, rows=(2, 1, 4), found=None, **other):
    candidates = tuple(
        Candidate(place_map.places[row], 0.9 - 0.1 * k, verification=None if k else found)
        for k, row in enumerate(rows)
    )
    return Recognition(7, STAMP_NS, verdict, 'why it is so', candidates, **other)


def match_of(answer, place_map, **config):
    signature = Signature(NodeConfig(**config), 'test:ab', 0.75, place_map.info)
    header = Header(stamp=HEADER.stamp, frame_id='camera')
    return place_match(answer, header, Arrival(b'', 0.0, 0), signature)


def view(camera='', colour=(200, 60, 30), size=(120, 160)):
    return View(np.full((*size, 3), colour, np.uint8), camera)
