"""The paths of the map and one answer as markers for RViz.

Pure functions; `Shown` remembers what was said, so that what is gone is deleted. Sizes follow the
map: a living room and a town are both seen whole.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point
from scipy.spatial.transform import Rotation
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from vpr_msgs.msg import PlaceMatch
from vpr_ros.nodes.outputs.colours import RAMP, WHITE, Colour, Scale, of_session, of_verdict
from vpr_ros.nodes.outputs.positions import Positions
from vpr_ros.records import Candidate, Pose, Recognition, Verdict

LIFETIME_S = 3  # of an answer, when no other follows
PATH_POINTS = 1000  # of one session; more are not seen
TEXT_COLUMNS, TEXT_UNITS = 40, 1.1  # width of a line, height of a capital
APART_M = 1e-3  # from query to place, that is worth a line


def unit_m(positions: Positions) -> float:
    """The length by which markers are scaled: a fiftieth of the map, within reason."""
    return min(max(positions.extent_m / 50.0, 0.15), 6.0)


def paths(header: Header, positions: Positions) -> list[Marker]:
    """The path of each session with two places or more."""
    markers = []
    for session_id in np.unique(positions.sessions).tolist():
        xyz = positions.xyz[positions.sessions == session_id]
        if len(xyz) < 2:
            continue
        some = np.linspace(0, len(xyz) - 1, min(len(xyz), PATH_POINTS)).round().astype(int)
        marker = _marker(header, 'paths', session_id, Marker.LINE_STRIP, of_session(session_id))
        marker.lifetime = Duration()  # stays until the map is another
        marker.scale.x = unit_m(positions) / 8
        marker.color.a = 0.7
        marker.points = [_point(x) for x in xyz[some].tolist()]
        markers.append(marker)
    return markers


def answer(
    header: Header,
    recognition: Recognition,
    match: PlaceMatch,
    positions: Positions,
    pose: Pose | None = None,
) -> list[Marker]:
    """One answer: candidates, the pose when accepted, the relative pose, the verdict in words.

    Args:
        header: frame of the map, stamp of the image.
        recognition: the outcome.
        match: its message.
        positions: of the map.
        pose: of the query in the frame of the map; None: unknown.
    """
    unit = unit_m(positions)
    posed = [(k, c) for k, c in enumerate(recognition.candidates) if _finite(c.place.pose)]
    markers = _candidates(header, recognition, match.similarity_threshold, posed, unit)
    where = None
    if match.pose_valid:
        markers += [_arrow(header, match, unit), _disc(header, match, unit)]
        where = _position(match)
    if recognition.best and _finite(recognition.best.place.pose):
        markers += _relative(header, recognition, match, pose, unit)
    return [*markers, _verdict(header, recognition, positions.centre, where, unit)]


class Shown:
    """Which markers a viewer has, so that those that are gone are deleted."""

    def __init__(self) -> None:
        self._keys: dict[bool, set[tuple[str, int]]] = {True: set(), False: set()}

    def message(self, header: Header, *groups: Sequence[Marker] | None) -> MarkerArray:
        """One message of the markers of the paths and of an answer; None: as they were."""
        markers: list[Marker] = []
        for about_paths, group in zip((True, False), groups, strict=True):
            if group is None:
                continue
            keys = {(marker.ns, marker.id) for marker in group}
            markers += [_gone(header, key) for key in sorted(self._keys[about_paths] - keys)]
            markers += group
            self._keys[about_paths] = keys
        return MarkerArray(markers=markers)


def _candidates(
    header: Header,
    recognition: Recognition,
    threshold: float,
    posed: Iterable[tuple[int, Candidate]],
    unit: float,
) -> list[Marker]:
    """A sphere for each, larger and brighter the more alike, and ranks where there is room."""
    scale = _scale(recognition, threshold)
    spheres, ranks, labelled = [], [], []
    for rank, candidate in posed:
        share = float(scale.share(np.float32([candidate.similarity]))[0])
        colour = tuple(RAMP[round(255 * share)].tolist())
        sphere = _marker(header, 'candidates', rank, Marker.SPHERE, colour)
        assert candidate.place.pose is not None
        where = np.array(candidate.place.pose.position_m)
        _put(sphere, where)
        sphere.scale.x = sphere.scale.y = sphere.scale.z = unit * (0.6 + 0.8 * share)
        sphere.color.a = 0.9
        spheres.append(sphere)
        if all(np.linalg.norm(where - other) > 3.0 * unit for other in labelled):
            labelled.append(where)
            ranks.append(_text(header, 'ranks', rank, f'{rank + 1}', where, 0.9 * unit, WHITE))
            ranks[-1].pose.position.x += 1.2 * unit  # beside the sphere, also from above
            ranks[-1].pose.position.z += 1.2 * unit
    return spheres + ranks


def _scale(recognition: Recognition, threshold: float) -> Scale:
    found = recognition.similarities
    if found is None:
        found = np.array([candidate.similarity for candidate in recognition.candidates])
    return Scale.of(found, threshold)


def _arrow(header: Header, match: PlaceMatch, unit: float) -> Marker:
    """Where the robot is, and where it looks."""
    marker = _marker(header, 'pose', 0, Marker.ARROW, of_verdict(Verdict.ACCEPTED))
    marker.pose = match.pose.pose
    marker.scale.x, marker.scale.y, marker.scale.z = 3.0 * unit, 0.5 * unit, 0.5 * unit
    return marker


def _disc(header: Header, match: PlaceMatch, unit: float) -> Marker:
    """One standard deviation of the position, seen from above."""
    marker = _marker(header, 'pose', 1, Marker.CYLINDER, of_verdict(Verdict.ACCEPTED))
    covariance = np.reshape(match.pose.covariance, (6, 6))[:2, :2]
    variances, axes = np.linalg.eigh((covariance + covariance.T) / 2)
    sigma = np.sqrt(variances.clip(1e-6)).tolist()
    _put(marker, _position(match))
    turned = Rotation.from_euler('z', math.atan2(axes[1, 0], axes[0, 0])).as_quat().tolist()
    q = marker.pose.orientation
    q.x, q.y, q.z, q.w = turned
    marker.scale.x, marker.scale.y, marker.scale.z = 2 * sigma[0], 2 * sigma[1], 0.05 * unit
    marker.color.a = 0.18
    return marker


def _relative(
    header: Header, recognition: Recognition, match: PlaceMatch, pose: Pose | None, unit: float
) -> list[Marker]:
    """A line from the query to the best place, where the two are apart."""
    assert recognition.best is not None and recognition.best.place.pose is not None
    place = np.array(recognition.best.place.pose.position_m)
    if _finite(pose):
        query = np.array(pose.position_m)
    elif match.pose_valid:
        query = _position(match)  # measured, or the place's own
    else:
        return []
    if np.linalg.norm(query - place) < APART_M:
        return []
    colour = of_verdict(recognition.verdict)
    marker = _marker(header, 'relative', 0, Marker.LINE_LIST, colour)
    marker.scale.x = 0.12 * unit
    marker.color.a = 0.7
    marker.points = [_point(query.tolist()), _point(place.tolist())]
    return [marker]


def _verdict(
    header: Header,
    recognition: Recognition,
    centre: np.ndarray,
    where: np.ndarray | None,
    unit: float,
) -> Marker:
    """The verdict in words: beside the accepted pose, on the side of the middle of the map.

    All refusals stand in the middle itself, where they can be read.
    """
    words = recognition.verdict.name.replace('_', ' ')
    if recognition.verdict not in (Verdict.ACCEPTED, Verdict.ERROR):
        words = f'REFUSED: {words}'
    reason = textwrap.wrap(recognition.reason, TEXT_COLUMNS)[:3]
    anchor = centre
    if where is not None:
        clear = np.array([0.3 * TEXT_COLUMNS + 3.0, 2.5 + 0.7 * len(reason)]) * TEXT_UNITS * unit
        ahead = centre - where
        far = float(np.abs(ahead[:2]).max())
        side = ahead[:2] / far if far > unit else np.array([0.0, 1.0])
        anchor = where + [*(side * clear), clear[1]]
    colour, text = of_verdict(recognition.verdict), '\n'.join([words, *reason])
    return _text(header, 'verdict', 0, text, anchor, TEXT_UNITS * unit, colour)


def _text(
    header: Header, ns: str, id_: int, text: str, where: np.ndarray, height: float, colour: Colour
) -> Marker:
    marker = _marker(header, ns, id_, Marker.TEXT_VIEW_FACING, colour)
    _put(marker, where)
    marker.text = text
    marker.scale.z = height
    return marker


def _marker(header: Header, ns: str, id_: int, type_: int, colour: Colour) -> Marker:
    """An opaque marker at the origin of the frame, one metre large."""
    red, green, blue = (value / 255 for value in colour)
    marker = Marker(header=header, ns=ns, id=id_, type=type_, action=Marker.ADD)
    marker.pose.orientation.w = 1.0
    marker.scale.x = marker.scale.y = marker.scale.z = 1.0
    marker.color = ColorRGBA(r=red, g=green, b=blue, a=1.0)
    marker.lifetime = Duration(sec=LIFETIME_S)
    return marker


def _gone(header: Header, key: tuple[str, int]) -> Marker:
    marker = _marker(header, *key, Marker.SPHERE, WHITE)
    marker.action = Marker.DELETE
    return marker


def _put(marker: Marker, where: np.ndarray) -> None:
    marker.pose.position = _point(where.tolist())


def _point(xyz: Sequence[float]) -> Point:
    x, y, z = xyz
    return Point(x=x, y=y, z=z)


def _position(match: PlaceMatch) -> np.ndarray:
    point = match.pose.pose.position
    return np.array([point.x, point.y, point.z])


def _finite(pose: Pose | None) -> bool:
    return pose is not None and bool(np.isfinite([*pose.position_m, *pose.quaternion]).all())
