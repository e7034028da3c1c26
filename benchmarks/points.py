"""What is matched between images: corners against SIFT, what they tell apart and what they cost.

    python benchmarks/points.py [--model NAME] [--candidates N] [--json OUT] [SET ...]

Of every query of the shared sets its most similar places are verified, with the fundamental matrix
as without cameras. `AUC`: how well inliers tell right candidates from wrong ones; `confirmed`:
right and wrong ones at the default settings; `ms`: medians of the points of one image, and of
matching and RANSAC of one pair, on one thread, both methods in turn on the same images. Then the
median inliers of an image and itself, turned and scaled; and the errors of rotation between
calibrated true pairs of euroc, by the number of inliers.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from vpr_ros.threads import share_the_processor

share_the_processor()

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import yaml  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from scipy.spatial.transform import Rotation  # noqa: E402

from vpr_ros.config.recognition import VerificationConfig  # noqa: E402
from vpr_ros.evaluation.datasets import LoopSet, PairSet, read_dataset  # noqa: E402
from vpr_ros.evaluation.loop_sets import describe  # noqa: E402
from vpr_ros.evaluation.precision_recall import ranking_auc  # noqa: E402
from vpr_ros.evaluation.speed import check_output, write_whole  # noqa: E402
from vpr_ros.models import PlaceModel, build_model  # noqa: E402
from vpr_ros.recognition.geometry import keypoints  # noqa: E402
from vpr_ros.recognition.geometry.keypoints import Keypoints  # noqa: E402
from vpr_ros.recognition.geometry.point_matches import match_points  # noqa: E402
from vpr_ros.recognition.geometry.verification import FIND  # noqa: E402
from vpr_ros.recognition.geometry.views import View, explain  # noqa: E402
from vpr_ros.recognition.thumbnails import encode_thumbnail  # noqa: E402
from vpr_ros.records import Camera  # noqa: E402

SETS = ('euroc', 'duckietown', 'corridor', 'tower-seconds', 'tower-floors', 'kitti-noloop')
DEFAULT_ROOT = Path(__file__).resolve().parents[2] / 'shared' / 'data'
TURNS = ((0, 1.0), (10, 1.0), (15, 1.0), (20, 1.0), (45, 1.0), (0, 0.7), (0, 0.8), (0, 1.25))
TURNED_IMAGES = 12  # of a set
INLIERS = (20, 30, 40, 50, 60, 80, 10_000)  # from which, to which the rotations are counted
EUROC = 'euroc_v101_keyframes'
CONFIG = VerificationConfig()


class Pair(NamedTuple):
    """A query and one of its candidates, by row; and whether it is the place."""

    query: int
    place: int
    right: bool


class Asked(NamedTuple):
    """Grey images of a set as the verifier sees them, and the pairs that it is asked about."""

    queries: list[np.ndarray]
    places: list[np.ndarray]
    pairs: list[Pair]


class Outcome(NamedTuple):
    """Of one pair."""

    right: bool
    inliers: int
    confirmed: bool


def asked(model: PlaceModel, name: str, root: Path, candidates: int) -> Asked:
    """The most similar places of each query; those that the rule ignores are left out."""
    data = read_dataset(name, root)
    assert not isinstance(data, PairSet)
    if isinstance(data, LoopSet):
        images = list(data.images)
        sides, truth = (images, images), data.truth()
    else:
        sides, truth = (list(data.queries), list(data.references)), data.truth
    ours, theirs = (describe(model, side) for side in sides)
    similarity = np.where(truth.admissible, ours @ theirs.T, -np.inf)
    pairs = [
        Pair(query, int(place), bool(truth.positive[query, place]))
        for query, row in enumerate(similarity)
        for place in np.argsort(-row)[:candidates]
        if np.isfinite(row[place]) and not truth.ignored[query, place]
    ]
    queries = [keypoints.grey(image) for image in sides[0]]
    places = [keypoints.grey_thumbnail(encode_thumbnail(image)) for image in sides[1]]
    return Asked(
        [x for x in queries if x is not None], [x for x in places if x is not None], pairs
    )


def verified(method: str, of: Asked) -> Iterator[tuple[Outcome, float, float]]:
    """Each pair's outcome, milliseconds of the query's points, and of the rest."""
    known: dict[int, Keypoints] = {}
    for query, place, right in of.pairs:
        start = time.perf_counter()
        ours = FIND[method](of.queries[query])
        found_ms = 1e3 * (time.perf_counter() - start)
        if place not in known:
            known[place] = FIND[method](of.places[place])
        start = time.perf_counter()
        matches, inliers = compared(ours, known[place])
        compared_ms = 1e3 * (time.perf_counter() - start)
        ratio = inliers / max(1, matches)
        confirmed = inliers >= CONFIG.min_inliers and ratio >= CONFIG.min_ratio
        yield Outcome(right, inliers, confirmed), found_ms, compared_ms


def compared(query: Keypoints, place: Keypoints) -> tuple[int, int]:
    """Matches, and inliers among them."""
    ours, theirs = match_points(query, place)
    found = explain(View(ours, query.size), View(theirs, place.size), CONFIG.error_px)
    return len(ours), int(found.inlier.sum())


def turned(image: np.ndarray, degrees: float, scale: float) -> np.ndarray:
    height, width = image.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, scale)
    return cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)


def survived(method: str, images: list[np.ndarray], degrees: float, scale: float) -> int:
    """Median inliers of images and themselves turned and scaled."""
    find = FIND[method]
    some = images[:: max(1, len(images) // TURNED_IMAGES)][:TURNED_IMAGES]
    pairs = [(find(turned(x, degrees, scale)), find(x)) for x in some]
    return int(np.median([compared(*pair)[1] for pair in pairs]))


def row(method: str, name: str, of: Asked) -> dict[str, str | float | int]:
    outcomes, found_ms, compared_ms = zip(*verified(method, of), strict=True)
    right = np.array([x.right for x in outcomes])
    inliers = np.array([x.inliers for x in outcomes], np.float64)
    confirmed = np.array([x.confirmed for x in outcomes])
    auc = ranking_auc(inliers, right)
    return {
        'set': name, 'method': method, 'pairs': len(right),
        'AUC': '' if auc is None else round(auc, 3),
        'confirmed right': int((confirmed & right).sum()),
        'confirmed wrong': int((confirmed & ~right).sum()),
        'points, ms': round(float(np.median(found_ms)), 2),
        'compared, ms': round(float(np.median(compared_ms)), 2),
    }  # fmt: skip


def rotation_errors(method: str, root: Path) -> list[dict[str, str | int | float]]:
    """Degrees between the rotation of true pairs of euroc as found and as it was, by inliers."""
    data = read_dataset('euroc', root)
    assert isinstance(data, LoopSet) and data.track.quaternions is not None
    camera, mounting = euroc_camera(root)
    turns = Rotation.from_quat(data.track.quaternions).as_matrix() @ mounting
    grey = [keypoints.grey(image) for image in data.images]
    points = [FIND[method](x) for x in grey if x is not None]
    found = []
    for i, j in zip(*np.nonzero(data.truth().positive), strict=True):
        ours, theirs = match_points(points[i], points[j])
        views = View(ours, points[i].size, camera), View(theirs, points[j].size, camera)
        explained = explain(*views, CONFIG.error_px)
        if explained.motion is not None:
            error = Rotation.from_matrix(explained.motion.rotation @ (turns[i].T @ turns[j]).T)
            found.append((int(explained.inlier.sum()), np.degrees(error.magnitude())))
    inliers, degrees = np.array(found).T
    rows: list[dict[str, str | int | float]] = []
    for low, high in zip(INLIERS, INLIERS[1:], strict=False):
        some = degrees[(inliers >= low) & (inliers < high)]
        shares = np.percentile(some, (50, 75, 90)).round(2).tolist() if len(some) else [''] * 3
        rows.append({'method': method, 'inliers from': low, 'pairs': len(some),
                     '50 %, deg': shares[0], '75 %': shares[1], '90 %': shares[2]})  # fmt: skip
    return rows


def euroc_camera(root: Path) -> tuple[Camera, np.ndarray]:
    """The left camera, and its rotation (3, 3) in the body."""
    known = yaml.safe_load((root / EUROC / 'calibration.yaml').read_text())
    width, height = known['resolution']
    fx, fy, cx, cy = known['cam0']['intrinsics']
    distortion = tuple(known['cam0']['distortion_coefficients'])
    camera = Camera((height, width), fx, fy, cx, cy, distortion)
    return camera, np.reshape(known['cam0']['T_BS'], (4, 4))[:3, :3]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('sets', nargs='*', default=SETS, metavar='SET')
    parser.add_argument('--model', default='sage_nano')
    parser.add_argument('--candidates', type=int, default=1, help='most similar places verified')
    parser.add_argument('--json', type=Path, help='also write the figures to this file')
    parser.add_argument(
        '--root', type=Path, default=Path(os.environ.get('VPR_SHARED_DATA', DEFAULT_ROOT))
    )
    arguments = parser.parse_args()
    if arguments.json:
        check_output(arguments.json)
    model = build_model(arguments.model, 'cpu')
    cv2.setNumThreads(1)
    methods, rows, turns = ('corners', 'sift'), [], []
    for name in arguments.sets:
        of = asked(model, name, arguments.root, arguments.candidates)
        rows += [row(method, name, of) for method in methods]
        for method in methods:
            left = {f'{d} deg x{s:g}': survived(method, of.queries, d, s) for d, s in TURNS}
            turns.append({'set': name, 'method': method, **left})
    rotations = [x for method in methods for x in rotation_errors(method, arguments.root)]
    for found in (rows, turns, rotations):
        table = Table(*found[0], title=model.id)
        for one in found:
            table.add_row(*map(str, one.values()))
        Console(width=150).print(table)
    record = {'sets': rows, 'turned': turns, 'rotations': rotations}
    if arguments.json:
        write_whole(arguments.json, json.dumps(record, indent=1).encode())
    return 0


if __name__ == '__main__':
    sys.exit(main())
