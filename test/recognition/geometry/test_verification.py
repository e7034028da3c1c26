"""Verification of candidates: rendered planes whose homographies are known, and bad images."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vpr_ros.config.recognition import VerificationConfig
from vpr_ros.recognition.geometry.keypoints import grey, sift
from vpr_ros.recognition.geometry.point_matches import aligned, match_points
from vpr_ros.recognition.geometry.verification import (
    SETTLED,
    QueryView,
    Verifier,
    depth_at,
    passed,
)
from vpr_ros.records import Camera, Candidate, LocalFeatures, Place, Pose, PoseKind, Verification

CAMERA = Camera((240, 320), 260.0, 260.0, 159.5, 119.5, base=Pose((0.0, 0.0, 0.3)))
INPUT = (240, 240)


def picture(seed, size=(600, 800)):
    """Blobs of many sizes, RGB."""
    random = np.random.default_rng(seed)
    image = np.full((*size, 3), 128, np.uint8)
    for _ in range(500):
        centre = (int(random.integers(size[1])), int(random.integers(size[0])))
        colour = tuple(int(x) for x in random.integers(0, 255, 3))
        cv2.circle(image, centre, int(random.integers(4, 30)), colour, -1)
    return image


def view(image, motion=None, distance=2.0):
    """What CAMERA sees of a picture on a wall ahead; and the depth of every pixel."""
    motion = np.eye(4) if motion is None else motion
    across = distance * 1.6 / image.shape[1]  # metres a pixel of the picture
    height, width = image.shape[:2]
    wall = np.array(
        [[across, 0, -across * width / 2], [0, across, -across * height / 2], [0, 0, distance]]
    )
    plane = motion[:3, :3] @ wall + np.outer(motion[:3, 3], (0, 0, 1))
    homography = CAMERA.matrix() @ plane
    seen = cv2.warpPerspective(
        image, homography, (320, 240), flags=cv2.INTER_AREA, borderValue=(128, 128, 128)
    )
    y, x = np.mgrid[:240, :320]
    on_wall = np.linalg.inv(homography) @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    depth = (plane @ (on_wall / on_wall[2]))[2].reshape(240, 320)
    return seen, depth.astype(np.float32)


def jpeg(image):
    return cv2.imencode('.jpg', image[..., ::-1])[1].tobytes()


class Map:
    """Places with thumbnails, and local features for some."""

    def __init__(self, thumbnails, camera=None, local=None):
        self.thumbnails, self.shown, self.local = thumbnails, camera, local or {}
        self.read = []

    def thumbnail(self, place_id):
        self.read.append(place_id)
        return self.thumbnails[place_id]

    def camera(self, name):
        return self.shown if name == 'front' else None

    def local_features(self, place_ids):
        known = np.array([x in self.local for x in place_ids])
        blank = LocalFeatures(
            torch.zeros(1, 64, 128),
            torch.zeros(1, 64, dtype=torch.bool),
            torch.zeros(1, 64, 2),
            torch.zeros(1, 64),
        )
        some = [self.local.get(x, blank) for x in place_ids]
        parts = ('tokens', 'valid', 'position', 'reliability')
        return LocalFeatures(*(torch.cat([getattr(x, p) for x in some]) for p in parts)), known


def candidates(count):
    return [Candidate(Place(i, 1, i, camera='front'), 0.9 - 0.1 * i) for i in range(count)]


def moved(x=0.15, turn=0.05):
    motion = np.eye(4)
    motion[:3, :3] = cv2.Rodrigues(np.array((0.0, turn, 0.0)))[0]
    motion[:3, 3] = (x, 0.02, -0.1)
    return motion


@pytest.fixture(scope='module')
def places():
    """Two walls as places, the first seen from elsewhere by the query; its depth; the motion."""
    motion = moved()
    query, depth = view(picture(0), motion)
    return query, depth, motion, [jpeg(view(picture(seed))[0]) for seed in (0, 1)]


def config(**values):
    return VerificationConfig(**{'candidates': 2, 'matches': 'corners', **values})


@pytest.mark.parametrize('matches', ['corners', 'sift'])
def test_the_right_place_passes_and_the_wrong_one_does_not(places, matches):
    query, _, _, thumbnails = places
    given, settings = candidates(2), config(matches=matches)
    right, wrong = Verifier(settings, Map(thumbnails)).verify(QueryView(query), given)
    assert (right.verification.method, right.verification.model) == (matches, 'fundamental')
    assert right.verification.relative is None
    assert right.verification.query_size == right.verification.place_size == (240, 320)
    assert right.verification.inliers > 40 > 3 * wrong.verification.inliers
    assert passed(right.verification, config())
    assert not passed(wrong.verification, config())
    assert [x.place for x in (right, wrong)] == [x.place for x in given]


def test_corners_settle_what_is_seen_from_nearby(places):
    query, _, _, thumbnails = places
    found = Verifier(config(matches='auto'), Map(thumbnails)).verify(
        QueryView(query), candidates(2)
    )
    assert [x.verification.method for x in found] == ['corners', 'sift']
    assert found[0].verification.inliers >= SETTLED


def test_sift_judges_what_corners_do_not_settle(places):
    """A camera rolled by 40 degrees."""
    query, _, _, thumbnails = places
    roll = cv2.getRotationMatrix2D((159.5, 119.5), 40, 1.0)
    rolled = QueryView(cv2.warpAffine(query, roll, (320, 240)))
    (alone,) = Verifier(config(matches='corners'), Map(thumbnails)).verify(rolled, candidates(1))
    (both,) = Verifier(config(matches='auto'), Map(thumbnails)).verify(rolled, candidates(1))
    (sift_alone,) = Verifier(config(matches='sift'), Map(thumbnails)).verify(rolled, candidates(1))
    assert not passed(alone.verification, config())
    assert both.verification.method == 'sift' and passed(both.verification, config())
    assert both.verification.inliers == sift_alone.verification.inliers


@pytest.mark.parametrize(('near', 'method'), [(320, 'corners'), (0, 'sift')])
def test_corners_that_leave_the_scale_open_settle_nothing(places, near, method):
    query, depth, _, thumbnails = places
    depth = np.where(np.arange(320) < near, depth, 0.0).astype(np.float32)
    verifier = Verifier(config(matches='auto'), Map(thumbnails, CAMERA))
    (found,) = verifier.verify(QueryView(query, depth=depth, camera=CAMERA), candidates(1))
    assert found.verification.method == method
    assert (found.verification.model == 'pnp_depth') == bool(near)


def test_points_of_places_are_made_ready_as_the_query_before_needed_them(places):
    query, _, _, thumbnails = places
    for method, reads in (('corners', [0, 1]), ('sift', [0, 1, 0, 1])):
        source, nothing = Map(thumbnails), np.zeros((0, 2), np.float32)
        verifier = Verifier(config(matches='auto'), source)
        like = Verification(method, '', nothing, nothing, np.zeros(0, bool))
        verifier.expect([0, 1], like)
        assert source.read == reads
        verifier.verify(QueryView(query), candidates(1))
        assert source.read == reads


def test_only_the_first_few_are_verified(places):
    query, _, _, thumbnails = places
    given = candidates(2)
    found = Verifier(config(candidates=1), Map(thumbnails)).verify(QueryView(query), given)
    assert found[0].verification is not None
    assert found[1] is given[1]
    assert Verifier(config(candidates=0), Map(thumbnails)).verify(QueryView(query), given) == given


def test_depth_gives_metres_in_the_frames_of_the_bases(places):
    query, depth, motion, thumbnails = places
    verifier = Verifier(config(), Map(thumbnails, CAMERA))
    right = verifier.verify(QueryView(query, depth=depth, camera=CAMERA), candidates(2))[
        0
    ].verification
    assert (right.model, right.relative.kind) == ('pnp_depth', PoseKind.METRIC)
    truth = CAMERA.base @ Pose.from_matrix(motion) @ CAMERA.base.inverse()
    assert right.relative.pose.distance_m(truth) < 0.02
    assert right.relative.pose.angle_rad(truth) < 0.01


def test_depth_of_another_resolution(places):
    query, depth, _, thumbnails = places
    large = cv2.resize(query, (640, 480), interpolation=cv2.INTER_CUBIC)
    verifier = Verifier(config(), Map(thumbnails, CAMERA))
    right = verifier.verify(QueryView(large, depth=depth, camera=CAMERA), candidates(2))[
        0
    ].verification
    assert right.relative.kind is PoseKind.METRIC


def test_an_unknown_mounting_leaves_the_motion_unsaid(places):
    query, depth, _, thumbnails = places
    loose = replace(CAMERA, base=None)
    verifier = Verifier(config(), Map(thumbnails, CAMERA))
    right = verifier.verify(QueryView(query, depth=depth, camera=loose), candidates(1))
    assert (right[0].verification.model, right[0].verification.relative) == ('pnp_depth', None)


def bad_images():
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3)).astype(np.uint8)
    yield 'none', None
    yield 'black', np.zeros((240, 320, 3), np.uint8)
    yield 'white', np.full((240, 320, 3), 255, np.uint8)
    yield 'one pixel', noise[:1, :1]
    yield 'a line', noise[:3]
    yield 'a column', noise[:, :2]
    yield 'grey', noise[:, :, 0]
    yield 'float', noise.astype(np.float32)
    yield 'no pixels', noise[:0]


@pytest.mark.parametrize(('name', 'image'), bad_images())
@pytest.mark.parametrize('matches', ['auto', 'corners', 'sift', 'local'])
def test_bad_images_match_nothing(places, name, image, matches):
    verifier = Verifier(config(matches=matches), Map(places[3], CAMERA))
    for found in verifier.verify(QueryView(image, camera=CAMERA), candidates(2)):
        assert matches_nothing(found.verification)
        assert not passed(found.verification, config())


def matches_nothing(found):
    """Either there was nothing to match, or no match was found."""
    return found is None or (found.matches, found.model) == (0, '')


@pytest.mark.parametrize('thumbnail', [None, b'', b'no JPEG', jpeg(np.zeros((240, 320, 3)))])
def test_bad_thumbnails_match_nothing(places, thumbnail):
    found = Verifier(config(), Map([thumbnail])).verify(QueryView(places[0]), candidates(1))
    assert matches_nothing(found[0].verification)
    assert found[0].verification is None  # what is not there contradicts nothing


def test_a_wall_without_texture_is_not_judged(places):
    wall = np.full((240, 320, 3), 90, np.uint8)
    cv2.circle(wall, (100, 100), 40, (200, 180, 160), -1)  # ten keypoints at most
    verifier = Verifier(config(), Map([jpeg(wall), jpeg(places[0])]))
    assert verifier.verify(QueryView(wall), candidates(2))[0].verification is None
    textured = verifier.verify(QueryView(places[0]), candidates(2))
    assert textured[0].verification is None and textured[1].verification is not None


def test_the_same_image_twice_passes(places):
    query = places[0]
    verifier = Verifier(config(), Map([jpeg(query)], CAMERA))
    found = verifier.verify(QueryView(query, camera=CAMERA), candidates(1))[0].verification
    assert passed(found, config())
    assert found.relative.kind is PoseKind.ROTATION_ONLY
    assert found.relative.pose.angle_rad(Pose((0.0, 0.0, 0.0))) < 0.005


def test_keypoints_of_places_are_remembered(places):
    query, _, _, thumbnails = places
    source = Map(thumbnails)
    verifier = Verifier(config(), source)
    first = verifier.verify(QueryView(query), candidates(2))
    second = verifier.verify(QueryView(query), candidates(2))
    assert source.read == [0, 1]
    assert [x.verification.inliers for x in first] == [x.verification.inliers for x in second]


def local_features(image, points, seed=5):
    """Tokens that say which point of the picture it is, at points x, y of an image."""
    tokens = torch.randn(1, len(points), 128, generator=torch.Generator().manual_seed(seed))
    scale = np.array((INPUT[1] / image.shape[1], INPUT[0] / image.shape[0]))
    position = torch.from_numpy(((points + 0.5) * scale)[None, :, ::-1].astype(np.float32).copy())
    return LocalFeatures(
        F.normalize(tokens, dim=2), torch.ones(1, len(points), dtype=torch.bool), position,
        torch.ones(1, len(points)),
    )  # fmt: skip


def local_scene(places, coarse):
    """A query and a map with local features at the same points of the wall, `coarse` px off."""
    query, _, motion, thumbnails = places
    y, x = np.mgrid[60:190:16, 60:270:22]
    theirs = np.stack([x.ravel(), y.ravel()], axis=1).astype(float)[:64]
    rays = np.linalg.inv(CAMERA.matrix()) @ np.stack([*theirs.T, np.ones(len(theirs))])
    seen = CAMERA.matrix() @ (motion[:3, :3] @ (2.0 * rays) + motion[:3, 3:])
    ours = (seen[:2] / seen[2]).T
    off = theirs + np.random.default_rng(2).uniform(-coarse, coarse, theirs.shape)
    features = local_features(query, ours)
    source = Map(thumbnails, CAMERA, {0: local_features(query, off)})
    return QueryView(query, features, input_size=INPUT, camera=CAMERA), source, ours, theirs


def test_local_features_are_moved_to_where_the_patches_agree(places):
    query, source, ours, theirs = local_scene(places, coarse=8.0)
    verifier = Verifier(config(matches='local'), source)
    right, without = verifier.verify(query, candidates(2))
    found = right.verification
    assert found.method == 'local features'
    assert found.matches == len(ours)
    assert np.allclose(found.query_points, ours, atol=1e-3)
    near = np.linalg.norm(found.place_points - theirs, axis=1) < 2.0
    assert near.mean() > 0.6
    assert found.inliers > 0.6 * len(ours)
    assert without.verification is None


def test_local_features_without_images(places):
    query, source, ours, theirs = local_scene(places, coarse=0.0)
    source.thumbnails = [None, None]
    verifier = Verifier(config(matches='local'), source)
    found = verifier.verify(replace(query, image=None), candidates(1))[0].verification
    assert found.query_size == found.place_size == INPUT
    assert found.inliers == len(ours)
    assert (found.place_points[:, 0].max() + 0.5) * 320 / 240 - 0.5 == pytest.approx(
        theirs[:, 0].max()
    )


def test_auto_prefers_images_and_falls_back_to_local_features(places):
    query, source, _, _ = local_scene(places, coarse=0.0)
    source.local[1] = source.local[0]
    source.thumbnails = [source.thumbnails[0], None]
    found = Verifier(config(matches='auto'), source).verify(query, candidates(2))
    assert [x.verification.method for x in found][1] == 'local features'
    assert found[0].verification.method in ('corners', 'sift')
    assert all(passed(x.verification, config()) for x in found)
    blind = Verifier(config(matches='auto'), source).verify(
        replace(query, image=None), candidates(2)
    )
    assert {x.verification.method for x in blind} == {'local features'}


def test_features_of_a_blank_image_match_nothing(places):
    query, source, _, _ = local_scene(places, coarse=0.0)
    blank = replace(query, image=np.zeros_like(query.image))
    found = Verifier(config(matches='local'), source).verify(blank, candidates(1))
    assert (found[0].verification.matches, found[0].verification.model) == (0, '')


def test_patches_are_aligned_to_a_fraction_of_a_pixel():
    image = grey(cv2.GaussianBlur(picture(3), (0, 0), 3)[:240, :320])
    shift = np.float32([[1, 0, 3.4], [0, 1, -2.3]])
    other = cv2.warpAffine(image, shift, (320, 240), flags=cv2.INTER_CUBIC)
    y, x = np.mgrid[50:200:30, 50:280:40]
    points = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)
    moved_points = aligned(image, other, points, points, 20)
    assert np.abs(np.median(moved_points - points - (3.4, -2.3), axis=0)).max() < 0.1


def test_the_turned_image_matches_at_turned_points():
    image = grey(picture(4)[:240, :320])
    ours, theirs = match_points(sift(image), sift(np.ascontiguousarray(image[::-1, ::-1])))
    assert len(ours) > 50
    turned = np.array((319, 239)) - ours
    assert (np.linalg.norm(turned - theirs, axis=1) < 1.5).mean() > 0.9


def test_depth_is_read_at_the_nearest_pixel():
    depth = np.arange(12, dtype=np.float32).reshape(3, 4)
    points = np.array([(0, 0), (7, 5), (2.6, 0), (-3, 0), (8, 0)], np.float32)
    assert depth_at(depth, points, (6, 8)).tolist()[:3] == [0.0, 11.0, 1.0]
    assert np.isnan(depth_at(depth, points, (6, 8))[3:]).all()
    assert depth_at(None, points, (6, 8)) is None


def test_both_limits_must_be_met():
    limits = VerificationConfig(min_inliers=10, min_ratio=0.5)

    def result(inliers, matches):
        points = np.zeros((matches, 2), np.float32)
        return Verification('sift', 'essential', points, points, np.arange(matches) < inliers)

    assert passed(result(10, 20), limits)
    assert not passed(result(9, 12), limits)
    assert not passed(result(10, 21), limits)
    assert not passed(None, limits)
