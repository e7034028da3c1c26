"""Errors of stated relative poses on made-up drives whose true ones are known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vpr_ros.evaluation.evaluate import score_recognitions
from vpr_ros.evaluation.protocols import Track, TruthRule
from vpr_ros.evaluation.words import facts
from vpr_ros.records import (
    Candidate,
    Place,
    Pose,
    PoseKind,
    Recognition,
    RelativePose,
    Verdict,
    Verification,
)

COUNT = 20
RULE = TruthRule('near', 3.0)
NONE = np.zeros((0, 2), np.float32)


def track(seed):
    rng = np.random.default_rng(seed)
    near = np.arange(COUNT)[:, None] * [10.0, 0.0, 0.0] + rng.uniform(-1, 1, (COUNT, 3))
    turns = Rotation.from_rotvec(rng.uniform(-0.3, 0.3, (COUNT, 3))).as_quat()
    return Track(np.arange(COUNT, dtype=np.int64), near, turns)


QUERIES, PLACES = track(0), track(1)


def pose(track, row):
    return Pose(tuple(track.positions_m[row]), tuple(track.quaternions[row]))


def answers(kind, off=None, scale=1.0, rows=None):
    """Answers whose relative poses are the true ones, moved by `off` at the place's end."""
    off, found = off or Pose((0.0, 0.0, 0.0)), []
    for q, row in enumerate(range(COUNT) if rows is None else rows):
        true = pose(QUERIES, q).inverse() @ pose(PLACES, row) @ off
        stated = replace(true, position_m=tuple(scale * np.array(true.position_m)))
        relative = RelativePose(kind, stated, np.eye(6))
        verification = Verification('sift', 'made up', NONE, NONE, np.zeros(0, bool),
                                    relative=relative)  # fmt: skip
        best = Candidate(Place(row, 1, row), 0.9, verification=verification)
        found.append(Recognition(q, q, Verdict.ACCEPTED, '', (best,)))
    return found


def with_covariance(answer, covariance):
    found = answer.best.verification
    relative = replace(found.relative, covariance=covariance)
    best = replace(answer.best, verification=replace(found, relative=relative))
    return replace(answer, candidates=(best,))


def errors(recognitions, queries=QUERIES, places=PLACES):
    return score_recognitions(recognitions, queries, RULE, places, np.arange(COUNT)).poses


def test_true_poses_have_no_error():
    ((name, found),) = errors(answers(PoseKind.METRIC)).items()
    assert (name, found.count, found.of) == ('METRIC', COUNT, COUNT)
    assert max(found.translation_m) < 1e-9
    assert max(found.rotation_deg) < 1e-5
    assert found.direction_deg is None
    assert found.as_stated == 1.0


def test_errors_are_in_metres_and_degrees():
    off = Pose((0.3, 0.0, 0.4), tuple(Rotation.from_rotvec((0.0, 0.1, 0.0)).as_quat()))
    found = errors(answers(PoseKind.METRIC, off))['METRIC']
    assert found.as_stated == 1.0  # stated to a metre
    sure = [with_covariance(x, 1e-4 * np.eye(6)) for x in answers(PoseKind.METRIC, off)]
    assert errors(sure)['METRIC'].as_stated == 0.0
    assert found.translation_m == pytest.approx((0.5, 0.5))
    assert found.rotation_deg == pytest.approx((np.rad2deg(0.1),) * 2)


def test_up_to_scale_only_the_direction_counts():
    found = errors(answers(PoseKind.UP_TO_SCALE, scale=0.25))['UP_TO_SCALE']
    assert found.translation_m is None
    assert max(found.direction_deg) < 1e-5
    back = errors(answers(PoseKind.UP_TO_SCALE, scale=-1.0))['UP_TO_SCALE']
    assert back.direction_deg == pytest.approx((180.0, 180.0))


def test_wrong_places_and_unmeasured_poses_do_not_count():
    wrong = [1, 0, *range(2, COUNT)]
    some = answers(PoseKind.METRIC, rows=wrong)
    some[5] = replace(some[5], candidates=(replace(some[5].best, verification=None),))
    found = errors(some)['METRIC']
    assert (found.count, found.of) == (COUNT - 3, COUNT - 2)
    assert max(found.translation_m) < 1e-9
    assert errors([replace(x, candidates=()) for x in some]) == {}


def test_without_rotations_nothing_is_said():
    assert errors(answers(PoseKind.METRIC), queries=replace(QUERIES, quaternions=None)) == {}


def test_the_figures_are_in_the_words_and_in_the_file():
    evaluation = score_recognitions(
        answers(PoseKind.METRIC, Pose((0.1, 0.0, 0.0))), QUERIES, RULE, PLACES, np.arange(COUNT)
    )
    (fact,) = [x for x in facts(evaluation) if x.name == 'Poses in metres']
    assert fact.value == '20 of 20'
    assert 'translation 0.1 / 0.1 m' in fact.note
    poses = evaluation.to_dict()['relative_poses']
    assert poses['METRIC']['translation_m'] == pytest.approx([0.1, 0.1])
