"""Stages compared on a drive whose truth is known: each is switched on, and scored by itself."""

import math

import numpy as np
import pytest
import torch

from vpr_ros.config import RecognizerConfig
from vpr_ros.errors import DatasetError
from vpr_ros.evaluation.protocols import Track, TruthRule
from vpr_ros.evaluation.rides import Ride, fitted, play, ride_of_bag
from vpr_ros.evaluation.stage_report import stage_table, write_stages
from vpr_ros.evaluation.stages import (
    Stage,
    bare,
    by_inliers,
    by_probability,
    by_similarity,
    by_support,
    compare,
    stages,
)
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.recognition.described import Described, Query
from vpr_ros.recognition.drive import DriveOptions
from vpr_ros.records import (
    Candidate,
    LocalFeatures,
    Place,
    Pose,
    Recognition,
    Signals,
    Verdict,
    Verification,
)

S = 1_000_000_000
RULE = TruthRule('test', 1.0, 2.0, gap_s=20.0)
PLACES = 30


def features(number):
    generator = torch.Generator().manual_seed(number)
    tokens = torch.randn(1, 12, 128, generator=generator)
    tokens = tokens / tokens.norm(dim=2, keepdim=True)
    some = torch.ones(1, 12)
    return LocalFeatures(tokens, some.bool(), torch.zeros(1, 12, 2), some)


@pytest.fixture
def ride(tiny_model):
    """Twice round a circle; every place looks alike to the descriptor, but not locally."""
    queries, dim = [], tiny_model.descriptor_dim
    noise = np.random.default_rng(0)
    for k in range(2 * PLACES):
        descriptor = np.ones(dim) + 0.3 * noise.normal(size=dim)
        descriptor = (descriptor / np.linalg.norm(descriptor)).astype(np.float32)
        angle = 2 * math.pi * k / PLACES
        pose = Pose((10 * math.cos(angle), 10 * math.sin(angle), 0.0))
        view = Described(descriptor, features(k % PLACES))
        queries.append(Query((view,), k * 2 * S, pose))
    poses = np.array([query.pose.position_m for query in queries])
    track = Track(np.array([query.stamp_ns for query in queries]), poses)
    return Ride('circle', queries, track, RULE)


def test_local_features_find_what_descriptors_do_not(tiny_model, ride):
    chosen = stages(has_local=True, calibrated=False)[:2]
    alone, reranked = compare(tiny_model, ride, RecognizerConfig(), chosen)
    assert alone.figures()['of'] == PLACES
    assert alone.figures()['r@1'] < 0.5
    # The best ten of up to fifty places are what the pool can hold at least.
    assert reranked.figures()['r@1'] > alone.figures()['r@1'] + 0.2
    assert reranked.spent_ms > 0


def test_every_set_of_stages_answers_every_query(tiny_model, ride, tmp_path):
    results = compare(tiny_model, ride, RecognizerConfig())
    names = [result.name for result in results]
    assert names[:3] == ['similarity alone', '+ re-ranking', '+ verification']
    assert len(set(names)) == len(names)
    assert {result.evaluation.queries for result in results} == {2 * PLACES}
    table = stage_table('circle', results)
    assert table.row_count == len(results)
    assert write_stages('circle', results, tmp_path / 'out').stat().st_size > 10_000
    assert (tmp_path / 'out' / 'stages.json').exists()


def test_the_recent_past_of_the_rule_is_left_out(ride):
    config = fitted(RecognizerConfig(), ride)
    assert config.decision.exclude_recent_s == 20.0
    assert fitted(RecognizerConfig(), Ride('map', [], Track(), RULE, references=[])).decision == (
        RecognizerConfig().decision
    )


def test_a_map_is_asked_and_not_changed(tiny_model, ride, tmp_path):
    path = tmp_path / 'circle.vprmap'
    with PlaceMap.create(
        path, tiny_model.name, tiny_model.fingerprint, tiny_model.descriptor_dim
    ) as place_map:
        session = place_map.add_session('first')
        for query in ride.queries[:PLACES]:
            place = Place(0, session, query.stamp_ns, query.pose)
            (view,) = query.views
            place_map.add(place, view.descriptor, None, view.local)
    before = path.read_bytes()
    against = Ride('map', ride.queries, ride.track, RULE, map_path=path)
    chosen = [Stage('similarity', bare, by_similarity)]
    (result,) = compare(tiny_model, against, RecognizerConfig(), chosen)
    answers = play(tiny_model, against, RecognizerConfig())
    first = [answer.best.place.stamp_ns for answer in answers]
    assert first[:PLACES] == [query.stamp_ns for query in ride.queries[:PLACES]]
    assert result.evaluation.recall.of_matchable[0] >= 0.5
    assert path.read_bytes() == before


def test_a_drive_without_poses_cannot_be_judged(tiny_model, small_bag):
    options = DriveOptions(pose_topic='none')
    with pytest.raises(DatasetError, match='has a pose to judge by'):
        ride_of_bag(small_bag, tiny_model, RULE, options)


def test_a_recorded_drive_is_a_ride(tiny_model, small_bag):
    ride = ride_of_bag(small_bag, tiny_model, RULE, DriveOptions())
    assert len(ride.queries) == len(ride.track) > 20
    assert max(query.views[0].image.shape[1] for query in ride.queries) <= 320


def answer(similarity, support=math.nan, inliers=None, probability=math.nan):
    found = None
    if inliers is not None:
        points = np.zeros((50, 2), np.float32)
        found = Verification('sift', 'essential', points, points, np.arange(50) < inliers)
    best = Candidate(Place(1, 1, 0), similarity, verification=found)
    return Recognition(
        0, 0, Verdict.ACCEPTED, '', (best,), signals=Signals(similarity, support=support),
        probability=probability,
    )  # fmt: skip


def test_each_stage_is_sure_in_its_own_way():
    assert by_inliers(answer(0.9, inliers=3)) < by_inliers(answer(0.1, inliers=4))
    assert by_inliers(answer(0.1, inliers=4)) < by_inliers(answer(0.9, inliers=4))
    assert by_support(answer(0.5, 0.2)) < by_support(answer(0.5, 0.3))
    assert by_support(answer(0.5, 0.3)) < by_support(answer(0.6, 0.3))
    assert by_support(answer(0.5)) == 0.0
    assert by_probability(answer(0.9, probability=0.2)) == 0.2
    assert by_probability(answer(0.9)) == -1.0
    nothing = Recognition(0, 0, Verdict.NO_MAP, '')
    assert by_similarity(nothing) == -1.0 and by_inliers(nothing) < 0
