"""The two entry points, on a made-up street and against each other."""

import json

import numpy as np
import pytest

from vpr_ros.errors import DatasetError
from vpr_ros.evaluation.evaluate import (
    DescribedSet,
    Options,
    evaluate_descriptors,
    score_recognitions,
)
from vpr_ros.evaluation.protocols import Track, TruthRule, labelled
from vpr_ros.evaluation.result import CURVE_POINTS, Setup, plain, points, thinned
from vpr_ros.records import Candidate, Place, Recognition, Timings, Verdict

S = 1_000_000_000
RULE = TruthRule('street', 2.0, 4.0, gap_s=5.0)
QUICK = Options(replicates=20)


def street(laps=2, length=20, noise=0.0, seed=0):
    """Laps along the same street, one image a metre, with a look of its own for every metre."""
    rng = np.random.default_rng(seed)
    look = np.repeat(rng.normal(size=(1, length, 32)), laps, axis=0)
    look = (look + noise * rng.normal(size=look.shape)).reshape(-1, 32)
    look /= np.linalg.norm(look, axis=1, keepdims=True)
    positions = np.zeros((laps * length, 3))
    positions[:, 0] = np.tile(np.arange(length), laps)
    return DescribedSet(look, Track(np.arange(len(look)) * S, positions))


def answer(query, place, similarity, verdict=Verdict.ACCEPTED):
    candidates = () if place is None else (Candidate(place, similarity),)
    timings = Timings(1.0, 2.0 + query, 0.5)
    return Recognition(query, query * S, verdict, '', candidates, timings=timings)


def test_a_perfect_second_lap():
    found = evaluate_descriptors(street(), None, RULE, threshold=0.9, options=QUICK)
    assert (found.queries, found.references, found.descriptor_length) == (40, 40, 32)
    assert found.recall.matchable == 20
    assert found.recall.of_matchable[0] == 1.0
    assert found.single_best.average_precision == pytest.approx(1.0)
    assert (found.closures.correct, found.closures.wrong, found.closures.missed) == (20, 0, 0)
    assert (found.closures.revisits, found.closures.revisits_found) == (1, 1)
    assert found.closures.correct_error_m.max == 0.0
    assert found.bootstrap.block == 6


def test_a_stranger_street_has_no_loops_and_no_measures():
    found = evaluate_descriptors(street(laps=1), None, RULE, threshold=0.99, options=QUICK)
    assert found.recall.matchable == 0
    assert found.single_best.average_precision is None
    assert found.bootstrap is None
    assert found.closures.wrong == 0
    assert json.loads(found.to_json())['single_best']['max_f1'] is None


def test_without_a_threshold_the_choice_is_marked_as_hindsight():
    found = evaluate_descriptors(street(noise=0.8), None, RULE, options=QUICK)
    assert found.acceptance.hindsight
    assert found.acceptance.threshold == found.single_best.threshold_at_100_precision
    assert found.closures.wrong == 0
    assert found.closures.recall == found.single_best.recall_at_100_precision
    given = evaluate_descriptors(street(), None, RULE, threshold=0.5, options=QUICK)
    assert not given.acceptance.hindsight


def test_a_threshold_accepts_what_equals_it_and_nothing_below():
    looks = DescribedSet(np.array([[1.0, 0.0], [0.6, 0.8]]))
    truth = labelled(np.array([[False, True], [True, False]]))
    single = DescribedSet(looks.descriptors[:1])
    for threshold, accepted in ((1.0, 1), (float(np.float32(0.6)), 2), (0.61, 1)):
        found = evaluate_descriptors(looks, single, labelled(truth.positive[:, :1]),
                                     threshold=threshold, options=QUICK)  # fmt: skip
        assert found.closures.accepted == accepted


def test_against_references_the_gap_is_not_used():
    here, there = street(laps=1), street(laps=1)
    found = evaluate_descriptors(here, there, RULE, threshold=0.9, options=QUICK)
    assert found.closures.correct == 20
    assert found.evidence.truth.admissible.all()


def test_labels_by_hand_need_no_poses():
    looks = DescribedSet(np.eye(4))
    found = evaluate_descriptors(looks, looks, labelled(np.eye(4, dtype=bool)), options=QUICK)
    assert found.recall.of_all[0] == 1.0
    assert found.bootstrap.block == 1  # a set of images has no neighbours
    assert found.closures.revisits is None


def test_both_entry_points_agree():
    drive = street(noise=0.8)
    direct = evaluate_descriptors(drive, None, RULE, threshold=0.6, options=QUICK)
    ranked = direct.evidence.ranking
    answers = []
    for query in range(40):
        reference = int(ranked.indices[query, 0])
        place = Place(reference + 7, 1, reference * S) if ranked.count[query] else None
        similarity = float(ranked.similarities[query, 0])
        accepted = direct.answers.accepted[query]
        verdict = Verdict.ACCEPTED if accepted else Verdict.LOW_SIMILARITY
        answers.append(answer(query, place, similarity, verdict))
    front = score_recognitions(answers, drive.track, RULE, options=QUICK)
    assert front.closures == direct.closures
    assert front.single_best == direct.single_best
    assert front.recall.of_matchable[0] == direct.recall.of_matchable[0]
    ids = np.arange(40) + 7
    in_map = score_recognitions(answers, drive.track, RULE, drive.track, ids, options=QUICK)
    assert in_map.closures.accepted == front.closures.accepted


def test_verdicts_and_times_are_counted():
    track = street(laps=1, length=4).track
    place = Place(0, 1, 0)
    answers = [
        answer(0, None, 0, Verdict.EXCLUDED_RECENT),
        answer(1, place, 0.9),
        answer(2, place, 0.1, Verdict.LOW_SIMILARITY),
        answer(3, place, 0.8),
    ]
    rule = TruthRule('near', 1.0, 2.5)
    setup = Setup(descriptor_length=4096)
    found = score_recognitions(answers, track, rule, track, setup=setup, options=QUICK)
    assert found.descriptor_length == 4096
    assert found.verdicts == {'ACCEPTED': 2, 'EXCLUDED_RECENT': 1, 'LOW_SIMILARITY': 1}
    assert (found.closures.correct, found.closures.wrong, found.closures.ignored) == (1, 1, 0)
    assert found.timings['inference'].p50_ms == pytest.approx(3.5)
    assert found.timings['total'].max_ms == pytest.approx(6.5)
    assert found.acceptance.threshold is None


def test_an_accepted_place_of_the_recent_past_is_not_judged():
    track = street(laps=1, length=4).track
    answers = [answer(q, Place(0, 1, (q - 1) * S) if q else None, 0.9) for q in range(4)]
    found = score_recognitions(answers, track, RULE, options=QUICK)
    assert (found.closures.correct, found.closures.wrong) == (0, 0)
    assert found.closures.ignored == 3


def test_answers_that_do_not_fit_are_refused():
    track = street(laps=1, length=2).track
    good = [answer(0, None, 0), answer(1, None, 0)]
    with pytest.raises(DatasetError, match='found 1 answers and 2 query poses'):
        score_recognitions(good[:1], track, RULE)
    with pytest.raises(DatasetError, match='answer 0 has another stamp'):
        score_recognitions(good[::-1], track, RULE)
    with pytest.raises(DatasetError, match='id 9, which is not among'):
        score_recognitions([good[0], answer(1, Place(9, 1, 0), 0.5)], track, RULE, track)


def test_sets_that_do_not_fit_are_refused():
    drive = street()
    with pytest.raises(DatasetError, match='length 32, references of length 2'):
        evaluate_descriptors(drive, DescribedSet(np.eye(2)), RULE)
    with pytest.raises(DatasetError, match='2 x 2 pairs, but there are 40'):
        evaluate_descriptors(drive, None, labelled(np.eye(2, dtype=bool)))
    with pytest.raises(DatasetError, match='needs the position of every image'):
        evaluate_descriptors(DescribedSet(drive.descriptors), None, RULE)


def test_the_json_is_strict_names_everything_and_repeats():
    setup = Setup('street', 'looks', (322, 322), notes={'why': 'test'})
    texts = [
        evaluate_descriptors(street(noise=0.5), None, RULE, setup=setup, options=QUICK).to_json()
        for _ in range(2)
    ]
    assert texts[0] == texts[1]
    data = json.loads(texts[0], parse_constant=pytest.fail)
    assert data['protocol']['rule']['positive_m'] == 2.0
    assert data['protocol']['within_drive'] is True
    assert data['setup']['image_size'] == [322, 322]
    assert (data['queries'], data['queries_with_a_right_answer']) == (40, 20)
    assert data['recall']['of_matchable'][0] != data['recall']['of_all'][0]
    assert data['matches']['best_reference'][0] is None
    assert data['matches']['similarity'][0] is None
    assert len(data['matches']['correct']) == 40
    assert data['curves']['single_best']['threshold'][0] is None  # infinity: nothing accepted


def test_a_long_curve_is_thinned_but_keeps_its_ends():
    drive = street(laps=2, length=150, noise=0.5)
    curve = evaluate_descriptors(drive, None, RULE, options=QUICK).multi_match_curve
    chosen = thinned(curve)
    assert len(curve.threshold) > 10 * CURVE_POINTS >= len(chosen)
    assert (chosen[0], chosen[-1]) == (0, len(curve.threshold) - 1)
    assert points(curve)['points_in_all'] == len(curve.threshold)


def test_plain_values_know_no_nan():
    values = {'a': np.array([1.0, np.nan]), 2: np.float32(np.inf), 'c': (np.bool_(True), None)}
    assert plain(values) == {'a': [1.0, None], '2': None, 'c': [True, None]}
