"""The picture of one answer: what is drawn, what is said, and what is not computed."""

import json
import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageFont
from small_drive import texture

from vpr_ros.config import DecisionConfig, RecognizerConfig, RerankingConfig, VerificationConfig
from vpr_ros.errors import BagError
from vpr_ros.evaluation import explain_drive
from vpr_ros.evaluation.explain import WIDTH, draw_explanation, matches_of, to_png
from vpr_ros.evaluation.explain_drawing import INLIER, connected, masked, rgb, wrapped
from vpr_ros.evaluation.explain_record import NOT_COMPUTED, Explanation, signal_rows, stamp_words
from vpr_ros.evaluation.strips import FONT
from vpr_ros.evaluation.theme import LIGHT
from vpr_ros.recognition.decision import Thresholds
from vpr_ros.records import (
    Candidate,
    Frame,
    LocalFeatures,
    Place,
    Pose,
    Recognition,
    Signals,
    Timings,
    Verdict,
    Verification,
)

INPUT = (42, 56)  # pixels of a made-up model: 3 x 4 patches of 14


def local_features(positions, reliability, valid=None):
    count = len(positions)
    tokens = torch.nn.functional.one_hot(torch.arange(count), max(count, 1)).float()
    return LocalFeatures(
        tokens[None],
        torch.ones(1, count, dtype=torch.bool) if valid is None else torch.tensor([valid]),
        torch.tensor(positions, dtype=torch.float32)[None],
        torch.tensor(reliability, dtype=torch.float32)[None],
    )


def jpeg(image):
    return cv2.imencode('.jpg', image[:, :, ::-1])[1].tobytes()


def candidates(count, verification=None):
    found = [
        Candidate(Place(k, 1, 10**9 * k, Pose((3.0 * k, 0.0, 0.0))), 0.9 - 0.05 * k)
        for k in range(1, count + 1)
    ]
    found[0] = replace(found[0], verification=verification)
    return tuple(found)


def verified(inliers=15, matches=20):
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 90, (2, matches, 2)).astype(np.float32)
    inlier = np.arange(matches) < inliers
    return Verification('sift', 'fundamental', *points, inlier, (96, 128), (96, 128))


def explanation(found, verdict=Verdict.ACCEPTED, **more):
    answer = Recognition(3, 5 * 10**9, verdict, 'because', found)
    thumbnails = {c.place.id: jpeg(texture(c.place.id)) for c in found}
    shown = Explanation(
        texture(1), answer, 'query.png', 'small.vprmap', thresholds=Thresholds(0.5),
        thumbnails=thumbnails, input_size=INPUT,
    )  # fmt: skip
    return replace(shown, **more)


def drawn(shown):
    picture = draw_explanation(shown)
    assert picture.dtype == np.uint8
    assert picture.shape[1:] == (WIDTH, 3)
    return picture


def pixels_of(picture, colour):
    return int((picture == np.array(colour)).all(axis=2).sum())


def test_verdict_shows_in_colour():
    colours = {
        Verdict.ACCEPTED: LIGHT.right,
        Verdict.LOW_SIMILARITY: LIGHT.wrong,
        Verdict.TEMPORAL_PENDING: LIGHT.accent,
    }
    for verdict, colour in colours.items():
        picture = drawn(explanation(candidates(3), verdict))
        others = set(colours.values()) - {colour, LIGHT.right}  # a passed limit is green, too
        assert pixels_of(picture, rgb(colour)) > 5000
        assert all(pixels_of(picture, rgb(other)) < 500 for other in others)


def test_lines_join_the_points_of_inliers_over_faint_others():
    board = np.zeros((100, 200, 3), np.uint8)
    query = np.array([(20.0, 30.0), (20.0, 70.0)])
    place = np.array([(180.0, 30.0), (180.0, 70.0)])
    picture = connected(board, query, place, np.array([True, False])).astype(int)
    assert picture[30, 100].tolist() == pytest.approx([0.8 * x for x in INLIER], abs=2)
    grey = picture[70, 100]
    assert np.ptp(grey) < 15
    assert 0 < grey.max() < 140
    assert picture[50].max() == 0


def test_points_of_verification_are_scaled_from_their_own_images():
    size, other = (96, 128), (192, 256)
    ends = np.array([[63.5, 47.5]], np.float32), np.array([[127.5, 95.5]], np.float32)
    found = Verification('sift', 'essential', *ends, np.array([True]), size, other)
    matches = matches_of(explanation(candidates(2, found)))
    assert matches.query.tolist() == matches.place.tolist() == [[0.5, 0.5]]


def test_without_verification_local_features_are_matched():
    query = local_features([(7, 7), (7, 21), (21, 35)], [1, 1, 1])
    place = local_features([(21, 7), (21, 21), (35, 49)], [1, 1, 1], valid=[True, True, False])
    shown = explanation(candidates(2), query_local=query, place_local=place)
    matches = matches_of(shown)
    assert (matches.query * (56, 42)).round(3).tolist() == [[7, 7], [21, 7]]
    assert (matches.place * (56, 42)).round(3).tolist() == [[7, 21], [21, 21]]
    assert not matches.inlier.any()
    assert 'not verified' in matches.caption
    drawn(shown)


def test_no_local_feature_at_all_is_no_match():
    none = LocalFeatures(
        torch.zeros(1, 0, 128), torch.zeros(1, 0, dtype=torch.bool),
        torch.zeros(1, 0, 2), torch.zeros(1, 0),
    )  # fmt: skip
    shown = explanation(candidates(2), query_local=none, place_local=none)
    assert matches_of(shown) is None
    drawn(shown)


def test_mask_tints_kept_patches_by_reliability():
    image = np.full((84, 112, 3), 100, np.uint8)  # twice the input
    local = local_features([(7, 7), (7, 21), (35, 49)], [0.2, 0.9, 1.0], [True, True, False])
    change = np.abs(masked(image, local, INPUT, 14).astype(int) - 100).max(axis=2)
    assert 0 < change[0, 0] < change[0, 28]
    assert (change[:28, :28] == change[0, 0]).all()
    assert (change[:28, 28:56] == change[0, 28]).all()
    assert not change[28:].any()
    assert not change[:, 56:].any()


def test_dense_features_have_small_squares():
    image = np.full((42, 56, 3), 100, np.uint8)
    local = local_features([(7.0, 7.0), (10.5, 7.0)], [1.0, 1.0])
    change = (masked(image, local, INPUT, 14) != 100).any(axis=2)
    assert change.sum() == pytest.approx(2 * 3.5 * 3.5, rel=0.5)


def test_unknown_numbers_are_said_to_be_so():
    off = RecognizerConfig(
        reranking=RerankingConfig('none'), verification=VerificationConfig(candidates=0)
    )
    shown = explanation(candidates(1), config=off)
    rows = {row.name: row for row in signal_rows(shown)}
    assert rows['similarity'].value == '0.850'
    assert rows['similarity'].passes
    missing = [row for row in rows.values() if row.name not in ('similarity',)]
    assert {row.value for row in missing} == {NOT_COMPUTED}
    assert rows['inliers'].note == 'verification is off'
    assert rows['local matches'].note == 're-ranking is off'
    drawn(shown)
    on = RecognizerConfig(
        reranking=RerankingConfig('folpp'), verification=VerificationConfig(candidates=1)
    )
    rows = {row.name: row for row in signal_rows(replace(shown, config=on))}
    assert rows['inliers'].note == 'this place was not verified'
    assert rows['local matches'].note == 'the model has no local features'


def test_limits_are_those_that_decide():
    signals = Signals(0.45, 4.13, 0.02, 0.3, 0.6, 3, 0.9, math.nan, 2)
    config = RecognizerConfig(
        verification=VerificationConfig(min_inliers=12, min_ratio=0.3),
        decision=DecisionConfig(consistent_frames=2),
    )
    shown = explanation(candidates(2), config=config)
    shown = replace(shown, recognition=replace(shown.recognition, signals=signals))
    passes = {row.name: row.passes for row in signal_rows(shown) if row.passes is not None}
    expected = {'inliers': False, 'inlier ratio': True, 'agreement': True}
    assert passes == {'similarity': False, **expected}
    by_probability = replace(shown, thresholds=Thresholds(0.5, 0.9))
    passes = {
        row.name: row.passes for row in signal_rows(by_probability) if row.passes is not None
    }
    assert passes == expected


def test_json_has_every_number_and_null_for_the_unknown():
    shown = explanation(candidates(3, verified()))
    answer = replace(shown.recognition, ambiguity=0.25, timings=Timings(1.0, 2.0), pool=3)
    record = json.loads(replace(shown, recognition=answer).to_json())
    assert record['verdict'] == 'ACCEPTED'
    assert (record['ambiguity'], record['probability'], record['reranked']) == (0.25, None, 3)
    assert record['signals']['inliers'] == 15
    assert record['signals']['z_score'] is None
    first, second = record['candidates'][:2]
    assert (first['rank'], first['inliers'], first['from_best_m']) == (1, 15, 0.0)
    assert (second['rank'], second['inliers'], second['from_best_m']) == (2, None, 3.0)
    assert record['timings']['inference_ms'] == 2.0


def test_places_without_pose_have_no_distance():
    found = tuple(replace(c, place=replace(c.place, pose=None)) for c in candidates(2))
    record = json.loads(explanation(found).to_json())
    assert record['candidates'][1]['from_best_m'] is None
    drawn(explanation(found))


@pytest.mark.parametrize('shape', [(30, 900), (900, 30), (1, 1), (480, 640)])
def test_images_of_any_shape(shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    local = local_features([(7, 7), (35, 49)], [0.2, 0.9])
    shown = explanation(candidates(8, verified()), image=image, query_local=local)
    assert 700 < len(drawn(shown)) < 2000


def test_nothing_to_show_is_shown():
    blank = np.full((96, 128, 3), 128, np.uint8)
    drawn(explanation((), Verdict.BAD_IMAGE, image=blank))
    drawn(explanation((), Verdict.NO_MAP))
    drawn(explanation(candidates(3), thumbnails={1: None, 2: b'no picture at all'}))


def test_long_text_stays_inside():
    plain = explanation(candidates(2))
    words = 'x' * 400 + ' word' * 200
    answer = replace(plain.recognition, reason=words)
    shown = replace(plain, recognition=answer, query_name=words, map_name=words, notes=(words,))
    picture = drawn(shown)
    assert (picture[:, -20:] == 255).all()
    assert (picture[-20:] == 255).all()
    font = ImageFont.truetype(FONT, 16)
    lines = wrapped(words, font, 300)
    assert all(font.getlength(line) <= 300 for line in lines)
    assert len(lines) == 20
    assert lines[-1].endswith('…')
    assert ''.join(wrapped('x' * 400, font, 300)) == 'x' * 400


class LateBag:
    """Images each second from 100 s on, by their stamps; recorded an hour later."""

    path, start_ns, duration_s = 'late', 3700 * 10**9, 30.0

    def frames(self, topic, start_s=None, end_s=None):
        for k in range(30):
            if (start_s or 0.0) <= k <= (end_s or 30.0):
                yield Frame(texture(k), (100 + k) * 10**9)


def test_stamps_of_another_clock_than_the_recording_are_found():
    bag = LateBag()
    target = explain_drive._of_stamp(bag, '/camera', 120_010_000_000)
    assert target.stamp_ns == 120 * 10**9
    seen = [x.stamp_ns // 10**9 for x in explain_drive._leading_to(bag, '/camera', target, 3.0)]
    assert seen == [117, 118, 119, 120]
    target = explain_drive._at(bag, '/camera', 4.5)
    assert target.stamp_ns == 105 * 10**9
    seen = [x.stamp_ns // 10**9 for x in explain_drive._leading_to(bag, '/camera', target, 2.0)]
    assert seen == [103, 104, 105]
    with pytest.raises(BagError, match=r'the nearest is 129\.000 s'):
        explain_drive._of_stamp(bag, '/camera', 140 * 10**9)


def test_stamps_keep_every_digit():
    assert stamp_words(1_700_000_001_250_000_000) == '1700000001.250 s'
    assert stamp_words(1_000_000_001) == '1.000000001 s'


def test_png_is_what_was_drawn(tmp_path):
    picture = texture(4)
    (tmp_path / 'x.png').write_bytes(to_png(picture))
    assert (np.array(Image.open(tmp_path / 'x.png')) == picture).all()
