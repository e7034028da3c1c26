"""Motions of known scenes: right within their covariance, both ways round, and never a crash."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vpr_ros.recognition.geometry.motion import UNKNOWN_M, relative_pose
from vpr_ros.recognition.geometry.views import View, explain
from vpr_ros.records import Camera, Pose, PoseKind

QUERY_BASE = Pose(
    (0.3, -0.1, 0.5),
    tuple((Rotation.from_euler('y', 8, degrees=True)
           * Rotation.from_quat((-0.5, 0.5, -0.5, 0.5))).as_quat()),
)  # fmt: skip
PLACE_BASE = Pose(
    (-0.2, 0.05, 0.4),
    tuple((Rotation.from_euler('zx', (20, 5), degrees=True)
           * Rotation.from_quat((-0.5, 0.5, -0.5, 0.5))).as_quat()),
)  # fmt: skip
QUERY = Camera((480, 640), 500.0, 505.0, 322.0, 238.0, (-0.2, 0.05, 0.001, 0.0005, 0), QUERY_BASE)
PLACE = Camera((600, 800), 520.0, 515.0, 405.0, 290.0, (-0.1, 0.02, 0.0, 0.0, 0.0), PLACE_BASE)
SIZE = (240, 320)


@dataclass
class Scene:
    """Matches of points in space, of which the first `wrong` are wrong."""

    query: View
    place: View
    cameras: np.ndarray  # the place's optical frame in the query's, (4, 4)
    depths: tuple[np.ndarray, np.ndarray]  # of the points in the query and in the place
    wrong: int

    @property
    def bases(self):
        """The truth: X_place = X_query T, from poses of the cameras in the map."""
        camera_in_map = Pose((4.0, -2.0, 1.0), (0.1, 0.2, 0.3, 0.9273618495495703))
        query = camera_in_map @ QUERY_BASE.inverse()
        place = camera_in_map @ Pose.from_matrix(self.cameras) @ PLACE_BASE.inverse()
        return query.inverse() @ place

    def swapped(self):
        other = replace(
            self.place, depth_m=self.depths[1] if self.query.depth_m is not None else None
        )
        return other, replace(self.query, depth_m=None)


def seen(points, camera):
    zero = np.zeros(3)
    matrix = camera.matrix(SIZE)
    return cv2.projectPoints(points, zero, zero, matrix, np.array(camera.distortion))[0][:, 0]


def scene(
    seed=0, count=120, wrong=0.3, noise=0.3, t=(0.5, 0.1, 0.3), turn=(0.1, 0.2, -0.05), depth=False
):
    random = np.random.default_rng(seed)
    cameras = np.eye(4)
    cameras[:3, :3], cameras[:3, 3] = Rotation.from_rotvec(turn).as_matrix(), t
    points = random.uniform((-4, -3, 2), (4, 3, 9), (8 * count, 3))
    moved = points @ cameras[:3, :3].T + cameras[:3, 3]
    sides = [(points, seen(points, PLACE)), (moved, seen(moved, QUERY))]
    good = np.ones(len(points), bool)
    for space, image in sides:
        good &= (space[:, 2] > 1) & (np.abs(space[:, :2]) < 0.8 * space[:, 2:]).all(axis=1)
        good &= ((image > 0) & (image < (SIZE[1], SIZE[0]))).all(axis=1)
    rows = np.flatnonzero(good)[:count]
    assert len(rows) > 0.7 * count
    theirs, ours = (image[rows] + random.normal(0, noise, (len(rows), 2)) for _, image in sides)
    bad = int(wrong * len(rows))
    theirs[:bad] = random.uniform((0, 0), (SIZE[1], SIZE[0]), (bad, 2))
    far, near = points[rows, 2], moved[rows, 2]
    query = View(ours.astype(np.float32), SIZE, QUERY, near if depth else None)
    return Scene(query, View(theirs.astype(np.float32), SIZE, PLACE), cameras, (near, far), bad)


def check_covariance(covariance):
    assert covariance.shape == (6, 6)
    assert np.isfinite(covariance).all()
    assert np.array_equal(covariance, covariance.T)
    assert np.linalg.eigvalsh(covariance)[0] > 0


def error(relative, truth):
    """Of the translation and of the rotation vector, both in the newer base, (6,)."""
    turn = truth.rotation() * relative.pose.rotation().inv()
    away = np.subtract(truth.position_m, relative.pose.position_m)
    return np.concatenate([away, turn.as_rotvec()])


def related(query, place, query_base=QUERY_BASE, place_base=PLACE_BASE):
    found = explain(query, place, 2.0)
    return found, relative_pose(found.motion, query_base, place_base)


def test_depth_gives_the_motion_in_metres():
    known = scene(depth=True)
    found, relative = related(known.query, known.place)
    assert (found.model, relative.kind) == ('pnp_depth', PoseKind.METRIC)
    assert found.inlier[known.wrong :].mean() > 0.98
    assert found.inlier[: known.wrong].mean() < 0.1
    wrong = error(relative, known.bases)
    assert np.linalg.norm(wrong[:3]) < 0.01
    assert np.linalg.norm(wrong[3:]) < 0.003
    check_covariance(relative.covariance)


def test_both_directions_are_inverse_in_metres():
    known = scene(depth=True)
    _, there = related(known.query, known.place)
    _, back = related(*known.swapped(), PLACE_BASE, QUERY_BASE)
    assert np.linalg.norm(error(back, known.bases.inverse())[:3]) < 0.01
    assert (there.pose @ back.pose).distance_m(Pose((0.0, 0.0, 0.0))) < 0.02
    assert (there.pose @ back.pose).angle_rad(Pose((0.0, 0.0, 0.0))) < 0.005


def scaled_truth(known):
    """The bases' motion as if the cameras' translation were one metre long."""
    cameras = known.cameras.copy()
    cameras[:3, 3] /= np.linalg.norm(cameras[:3, 3])
    return QUERY_BASE @ Pose.from_matrix(cameras) @ PLACE_BASE.inverse()


def test_calibrated_cameras_give_the_motion_up_to_scale():
    known = scene()
    found, relative = related(known.query, known.place)
    assert (found.model, relative.kind) == ('essential', PoseKind.UP_TO_SCALE)
    assert np.linalg.norm(found.motion.translation) == pytest.approx(1)
    assert found.inlier[known.wrong :].mean() > 0.95
    wrong = error(relative, scaled_truth(known))
    assert np.linalg.norm(wrong[:3]) < 0.05
    assert np.linalg.norm(wrong[3:]) < 0.01
    _, back = related(*known.swapped(), PLACE_BASE, QUERY_BASE)
    wrong = error(back, scaled_truth(known).inverse())
    assert np.linalg.norm(wrong[:3]) < 0.05
    assert np.linalg.norm(wrong[3:]) < 0.01


def test_the_line_of_all_scales_is_wide_and_the_rest_is_not():
    known = scene()
    _, relative = related(known.query, known.place)
    check_covariance(relative.covariance)
    along = QUERY_BASE.rotation().apply(known.cameras[:3, 3])
    along /= np.linalg.norm(along)
    position = relative.covariance[:3, :3]
    assert np.sqrt(along @ position @ along) == pytest.approx(UNKNOWN_M, rel=0.1)
    assert np.sqrt(np.linalg.eigvalsh(position)[:2]).max() < 0.1
    # The metric truth is on that line, although both cameras are mounted off their bases.
    away = error(relative, known.bases)
    assert away @ np.linalg.solve(relative.covariance, away) < 30


def test_a_pure_rotation_has_no_direction():
    for seed in range(5):
        known = scene(seed, t=(0.0, 0.0, 0.0))
        found, relative = related(known.query, known.place)
        assert relative.kind is PoseKind.ROTATION_ONLY
        assert found.inlier[known.wrong :].mean() > 0.95
        assert np.linalg.norm(error(relative, known.bases)[3:]) < 0.01
        check_covariance(relative.covariance)
        assert np.sqrt(np.linalg.eigvalsh(relative.covariance[:3, :3])[0]) > 0.99 * UNKNOWN_M


@pytest.mark.parametrize(('depth', 'turns'), [(True, False), (False, False), (False, True)])
def test_errors_are_as_large_as_the_covariance_says(depth, turns):
    """Monte Carlo: the mean squared Mahalanobis distance per degree of freedom is below,
    but not far below, one: the covariance is that of real images, which are worse."""
    squares = []
    for seed in range(15):
        known = scene(seed, wrong=0.1, depth=depth, t=(0, 0, 0) if turns else (0.5, 0.1, 0.3))
        _, relative = related(known.query, known.place)
        away = error(relative, known.bases if depth or turns else scaled_truth(known))
        used = slice(3, 6) if turns else slice(0, 6)
        block = relative.covariance[used, used]
        squares.append(away[used] @ np.linalg.solve(block, away[used]) / len(away[used]))
    assert (0.0005 if turns else 0.02) < np.mean(squares) < 3
    assert np.max(squares) < 16


@pytest.mark.parametrize('calibrated', [True, False])
def test_an_image_explains_itself(calibrated, monkeypatch):
    """Equal to the last bit, as when the recording of a map is played to it."""
    points = np.random.default_rng(0).uniform((5, 5), (315, 235), (100, 2)).astype(np.float32)
    camera = QUERY if calibrated else None
    for nothing in (False, True):  # what OpenCV 4 finds in it, and 5 where it is calibrated
        if nothing:
            monkeypatch.setattr(cv2, 'findFundamentalMat', lambda *_: (None, None))
            monkeypatch.setattr(cv2, 'findEssentialMat', lambda *_: (None, None))
        view = View(points, SIZE, camera)
        found = explain(view, view, 2.0)
        assert found.inlier.all()
        assert bool(found.motion) == calibrated
        if found.motion:
            assert found.motion.kind is PoseKind.ROTATION_ONLY
            np.testing.assert_allclose(found.motion.rotation, np.eye(3), atol=1e-6)
            assert (np.linalg.eigvalsh(found.motion.covariance) > 0).all()


def test_without_cameras_there_is_no_motion():
    known = scene()
    sides = (replace(known.query, camera=None), known.place)
    found = explain(*sides, 2.0)
    assert (found.model, found.motion) == ('fundamental', None)
    assert found.inlier[known.wrong :].mean() > 0.9
    assert found.inlier[: known.wrong].mean() < 0.3


def test_an_uncalibrated_camera_is_no_camera():
    known = scene()
    blank = replace(QUERY, fx=0.0, fy=0.0)
    assert explain(replace(known.query, camera=blank), known.place, 2.0).model == 'fundamental'


def test_half_the_depths_may_be_missing():
    known = scene(depth=True)
    depth = known.query.depth_m.copy()
    depth[::4], depth[1::4] = np.nan, 0.0
    found, relative = related(replace(known.query, depth_m=depth), known.place)
    assert relative.kind is PoseKind.METRIC
    assert found.inlier[known.wrong :].mean() > 0.95
    assert np.linalg.norm(error(relative, known.bases)[:3]) < 0.02


def test_matches_without_depth_have_a_say_in_the_rotation():
    """A dozen near points measured by depth, a hundred others: against those points alone."""
    alone, together = [], []
    for seed in range(10):
        known = scene(seed, wrong=0.0, depth=True)
        some = np.argsort(known.query.depth_m)[:12]
        depth = np.full_like(known.query.depth_m, np.nan)
        depth[some] = known.query.depth_m[some]
        few = [
            replace(side, points=side.points[some]) for side in (known.query, known.place)
        ]  # fmt: skip
        few[0] = replace(few[0], depth_m=depth[some])
        for found, (query, place) in (
            (alone, few), (together, (replace(known.query, depth_m=depth), known.place)),
        ):  # fmt: skip
            explained, relative = related(query, place)
            assert relative.kind is PoseKind.METRIC
            check_covariance(relative.covariance)
            found.append(np.linalg.norm(error(relative, known.bases).reshape(2, 3), axis=1))
    alone, together = np.median(alone, axis=0), np.median(together, axis=0)
    assert (together < 0.7 * alone).all()
    assert together[1] < 0.003


def test_too_few_depths_are_no_scale():
    known = scene(wrong=0.0, depth=True)
    depth = np.full_like(known.query.depth_m, np.nan)
    depth[:8] = known.query.depth_m[:8]
    found = explain(replace(known.query, depth_m=depth), known.place, 2.0)
    assert found.motion.kind is PoseKind.UP_TO_SCALE


def test_without_any_depth_it_is_up_to_scale():
    known = scene(depth=True)
    depth = np.full_like(known.query.depth_m, np.nan)
    found = explain(replace(known.query, depth_m=depth), known.place, 2.0)
    assert found.motion.kind is PoseKind.UP_TO_SCALE


def test_the_size_of_the_images_does_not_matter():
    known = scene()
    small = explain(known.query, known.place, 2.0)
    sides = [
        replace(side, points=(side.points + 0.5) * 2 - 0.5, size=(480, 640))
        for side in (known.query, known.place)
    ]
    large = explain(*sides, 2.0)
    assert (small.inlier == large.inlier).mean() > 0.98
    assert np.allclose(small.motion.rotation, large.motion.rotation, atol=2e-3)


def test_equal_input_gives_equal_output():
    known = scene()
    cv2.setRNGSeed(1)
    first = explain(known.query, known.place, 2.0)
    cv2.setRNGSeed(2)
    second = explain(known.query, known.place, 2.0)
    assert np.array_equal(first.inlier, second.inlier)
    assert np.array_equal(first.motion.covariance, second.motion.covariance)


def degenerate():
    random = np.random.default_rng(0)
    line = np.linspace((10, 20), (300, 200), 40)
    cloud = random.uniform(0, 240, (40, 2))
    huge = cloud * 1e30
    yield 'none', cloud[:0], cloud[:0]
    yield 'seven', cloud[:7], cloud[:7] + 1
    yield 'collinear', line, line + 3
    yield 'collinear in one', cloud, line
    yield 'duplicates', np.repeat(cloud[:4], 10, axis=0), np.repeat(cloud[4:8], 10, axis=0)
    yield 'one point', np.full((40, 2), 5.0), cloud
    yield 'not finite', np.where(cloud > 100, np.nan, cloud), cloud
    yield 'infinite', huge, cloud


@pytest.mark.parametrize(('name', 'ours', 'theirs'), degenerate())
@pytest.mark.parametrize('calibrated', [False, True])
def test_degenerate_matches_have_no_inliers(name, ours, theirs, calibrated):
    cameras = (QUERY, PLACE) if calibrated else (None, None)
    depth = np.full(len(ours), 2.0)
    query = View(ours.astype(np.float32), SIZE, cameras[0], depth)
    found = explain(query, View(theirs.astype(np.float32), SIZE, cameras[1]), 2.0)
    assert (found.model, int(found.inlier.sum()), found.motion) == ('', 0, None)
    assert found.inlier.shape == (len(ours),)


@pytest.mark.parametrize('depth', [None, 2.0, 1e9, -1.0])
def test_random_matches_explain_little(depth):
    random = np.random.default_rng(3)
    ours, theirs = (random.uniform(0, 240, (60, 2)).astype(np.float32) for _ in range(2))
    depths = None if depth is None else np.full(60, depth)
    found = explain(View(ours, SIZE, QUERY, depths), View(theirs, SIZE, PLACE), 2.0)
    assert found.inlier.sum() < 25
