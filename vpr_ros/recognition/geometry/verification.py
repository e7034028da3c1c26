"""The third stage: does one rigid motion of the camera explain what a query and a place share?"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Protocol

import numpy as np

from vpr_ros.config.recognition import VerificationConfig
from vpr_ros.recognition.geometry import keypoints, point_matches
from vpr_ros.recognition.geometry.corners import corners
from vpr_ros.recognition.geometry.keypoints import Keypoints
from vpr_ros.recognition.geometry.motion import relative_pose
from vpr_ros.recognition.geometry.views import View, explain
from vpr_ros.records import Camera, Candidate, LocalFeatures, Verification

CORNERS, SIFT, LOCAL = 'corners', 'sift', 'local features'
FIND = {CORNERS: corners, SIFT: keypoints.sift}
METHODS = {'auto': (CORNERS, SIFT), 'corners': (CORNERS,), 'sift': (SIFT,), 'local': ()}
SETTLED = 50  # inliers of corners that leave nothing to ask; see docs/recognition.md
KEYPOINTS_PER_INLIER = 2  # an image with fewer has too little texture to be judged by
CACHED = 256  # places' keypoints that are kept: at most 0.3 MB each
PATCH = 20  # pixels of a thumbnail searched around a patch centre

Size = tuple[int, int]


class PlaceSource(Protocol):
    """What a map knows of its places, of which `PlaceMap` is one."""

    def local_features(self, place_ids: list[int]) -> tuple[LocalFeatures, np.ndarray]: ...

    def thumbnail(self, place_id: int) -> bytes | None: ...

    def camera(self, name: str) -> Camera | None: ...


@dataclass(frozen=True)
class QueryView:
    """The image of a query, and what is known beside it."""

    image: np.ndarray | None = field(default=None, repr=False)  # (H, W, 3) uint8, RGB
    local: LocalFeatures | None = None  # of one image
    depth: np.ndarray | None = field(default=None, repr=False)  # (H, W) float32, metres; 0, nan: ?
    input_size: Size = (0, 0)  # (height, width) of the input that `local.position` refers to
    camera: Camera | None = None


@dataclass(frozen=True)
class Matches:
    """Points that correspond: x, y in pixels, (n, 2) float32, of images of these sizes."""

    method: str
    query: np.ndarray
    place: np.ndarray
    query_size: Size
    place_size: Size


class Verifier:
    """Verifies candidates against one map; remembers keypoints of places, so keep it.

    Not for two threads at a time.
    """

    def __init__(self, config: VerificationConfig, place_map: PlaceSource) -> None:
        self.config = config
        self._map = place_map
        self._methods = METHODS[config.matches]
        self._begun: tuple[np.ndarray | None, Future[Keypoints | None]] = (None, Future())
        self._asked: tuple[QueryView | None, dict[str, Keypoints | None]] = (None, {})
        self._known: OrderedDict[tuple[str, int], Keypoints | None] = OrderedDict()

    def forget_query(self) -> None:
        """Another query comes: its image may lie in the memory of the one before."""
        self._begun = None, Future()

    def begin(self, image: np.ndarray) -> None:
        """Look for the SIFT of a query, RGB (H, W, 3), uint8, while the caller goes on."""
        if SIFT in self._methods:
            self._begun = image, _beside().submit(_of_image, SIFT, image)

    def expect(self, place_ids: Sequence[int], like: Verification) -> None:
        """Look for the points of places that are likely to be asked for.

        Args:
            place_ids: the places.
            like: what came out of the query before: what it needed is made ready.
        """
        for method in self._methods:
            for place_id in place_ids:
                self._keypoints(method, place_id)
            if method == like.method:
                return

    def verify(self, query: QueryView, candidates: list[Candidate]) -> list[Candidate]:
        """Fill `verification` of the first `config.candidates`; the others come back untouched.

        Damaged images give no matches, never an error. Where there is nothing to judge by, as
        with a place without thumbnail and local features, or a wall without texture, it stays
        None: what is not there contradicts nothing.
        """
        some = candidates[: self.config.candidates]
        if not some:
            return candidates
        found = [self._by_images(query, candidate) for candidate in some]
        bare = [i for i, candidate in enumerate(found) if candidate.verification is None]
        if self.config.matches in ('auto', 'local') and bare and query.local is not None:
            lacking = [some[i] for i in bare]
            for i, matches in zip(bare, self._by_local(query, lacking), strict=True):
                found[i] = self._judge(query, some[i], matches)
        return found + candidates[len(some) :]

    def _by_images(self, query: QueryView, candidate: Candidate) -> Candidate:
        """Judged by points of the images: by corners if these settle it, else by SIFT.

        Between like views corners find as much in a tenth of the time; the wider the baseline, the
        more SIFT finds that they miss (benchmarks/points.py). It finds more near points, too, and
        often these alone have depth.
        """
        judged = candidate
        for method in self._methods:
            matches = self._by_points(method, query, candidate.place.id)
            if method != self._methods[-1] and len(matches.query) < SETTLED:
                continue
            judged = self._judge(query, candidate, matches)
            if _settled(query, judged.verification):
                break
        return judged

    def _judge(self, query: QueryView, candidate: Candidate, matches: Matches) -> Candidate:
        if 0 in matches.query_size + matches.place_size:
            return candidate
        ours, theirs = query.camera, self._map.camera(candidate.place.camera)
        depth = depth_at(query.depth, matches.query, matches.query_size)
        found = explain(
            View(matches.query, matches.query_size, ours, depth),
            View(matches.place, matches.place_size, theirs),
            self.config.error_px,
        )
        relative = None
        if found.motion and ours and theirs and ours.base and theirs.base:
            relative = relative_pose(found.motion, ours.base, theirs.base)
        verification = Verification(
            matches.method, found.model, matches.query, matches.place, found.inlier,
            matches.query_size, matches.place_size, relative,
        )  # fmt: skip
        return replace(candidate, verification=verification)

    def _by_points(self, method: str, query: QueryView, place_id: int) -> Matches:
        ours, theirs = self._of_query(method, query), self._keypoints(method, place_id)
        least = KEYPOINTS_PER_INLIER * self.config.min_inliers
        if ours is None or theirs is None or min(len(ours.points), len(theirs.points)) < least:
            return _no_matches(method, (0, 0), (0, 0))
        return Matches(method, *point_matches.match_points(ours, theirs), ours.size, theirs.size)

    def _of_query(self, method: str, query: QueryView) -> Keypoints | None:
        """Points of the query, which are asked for once for each of its candidates."""
        if query is not self._asked[0]:
            self._asked = query, {}
        known = self._asked[1]
        if method == SIFT and query.image is not None and query.image is self._begun[0]:
            known[method] = self._begun[1].result()
        if method not in known:
            known[method] = _of_image(method, query.image)
        return known[method]

    def _keypoints(self, method: str, place_id: int) -> Keypoints | None:
        """Points of a place's thumbnail; places are never changed, so they are remembered."""
        key = method, place_id
        if key not in self._known:
            grey = keypoints.grey_thumbnail(self._map.thumbnail(place_id))
            self._known[key] = None if grey is None else FIND[method](grey)
            if len(self._known) > CACHED:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]

    def _by_local(self, query: QueryView, candidates: list[Candidate]) -> list[Matches]:
        image = keypoints.grey(query.image)
        absent = _no_matches(LOCAL, (0, 0), (0, 0))
        if query.local is None or min(query.input_size) < 1 or not query.local.tokens.shape[1]:
            return [absent] * len(candidates)
        blank = image is None or image.std() < point_matches.LEAST_DEVIATION
        features, known = self._map.local_features([x.place.id for x in candidates])
        if (query.image is not None and blank) or not known.any():
            nothing = _no_matches(LOCAL, query.input_size, query.input_size)
            return [nothing if there else absent for there in known]
        pairs = point_matches.match_local(query.local, features)
        return [
            self._refined(query, image, candidate, *pair) if there else absent
            for candidate, pair, there in zip(candidates, pairs, known, strict=True)
        ]

    def _refined(
        self, query: QueryView, image: np.ndarray | None, candidate: Candidate,
        ours: np.ndarray, theirs: np.ndarray,
    ) -> Matches:  # fmt: skip
        """Patch centres in pixels of the images, moved where both images are at hand."""
        source = query.input_size
        other = keypoints.grey_thumbnail(self._map.thumbnail(candidate.place.id))
        if image is None or other is None:
            # Both in the model's input, whose pixels a camera's matrix is scaled to as well.
            ours, theirs = (point_matches.scaled(x, source, source) for x in (ours, theirs))
            return Matches(LOCAL, ours, theirs, source, source)
        sizes = (image.shape[0], image.shape[1]), (other.shape[0], other.shape[1])
        ours = point_matches.scaled(ours, source, sizes[0])
        theirs = point_matches.scaled(theirs, source, sizes[1])
        theirs = point_matches.aligned(image, other, ours, theirs, PATCH)
        return Matches(LOCAL, ours, theirs, *sizes)


def _of_image(method: str, image: np.ndarray | None) -> Keypoints | None:
    grey = keypoints.grey(image)
    return None if grey is None else FIND[method](grey)


@cache
def _beside() -> ThreadPoolExecutor:
    """A thread for points: OpenCV does not hold the interpreter meanwhile."""
    return ThreadPoolExecutor(1, thread_name_prefix='keypoints')


def _settled(query: QueryView, verification: Verification | None) -> bool:
    """Whether there is nothing left to ask: neither the place nor, with depth, the scale."""
    if verification is None or verification.inliers < SETTLED:
        return False
    return query.depth is None or verification.model == 'pnp_depth'


def passed(verification: Verification | None, config: VerificationConfig) -> bool:
    """Whether geometry confirms a place: enough inliers, and enough of the matches."""
    return (
        verification is not None
        and verification.inliers >= config.min_inliers
        and verification.ratio >= config.min_ratio
    )


def depth_at(depth: np.ndarray | None, points: np.ndarray, size: Size) -> np.ndarray | None:
    """Depth in metres at points (n, 2) of an image of this size, (n,); nan outside.

    The nearest reading, never a mean: between a near and a far surface there is none.
    """
    if depth is None or depth.ndim != 2 or not depth.size or min(size) < 1:
        return None
    factor = np.array((depth.shape[1] / size[1], depth.shape[0] / size[0]))
    column, row = (np.floor((points + 0.5) * factor).astype(int)).T
    inside = (column >= 0) & (row >= 0) & (column < depth.shape[1]) & (row < depth.shape[0])
    found = np.full(len(points), np.nan)
    found[inside] = depth[row[inside], column[inside]]
    return found


def _no_matches(method: str, query_size: Size, place_size: Size) -> Matches:
    return Matches(
        method, np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32), query_size, place_size
    )
