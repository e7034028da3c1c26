"""A recorded drive through the front door, scored: loops found, strangers refused."""

import json

import numpy as np
import pytest
from small_drive import START_NS, write_drive

from vpr_ros.errors import DatasetError, MapError
from vpr_ros.evaluation.drive_answers import read_answers
from vpr_ros.evaluation.drives import evaluate_drive, evaluate_live
from vpr_ros.evaluation.protocols import TruthRule
from vpr_ros.evaluation.report import write_report
from vpr_ros.maps.compress import Compression, compress
from vpr_ros.recognition.drive import DriveOptions
from vpr_ros.recognition.mapping import build_map

RULE = TruthRule('small', 1.0, heading_deg=20.0, gap_s=10.0)
DAY_NS = 86_400 * 10**9


@pytest.fixture
def small_map(small_bag, tiny_model, tmp_path):
    build_map(small_bag, tiny_model, tmp_path / 'small.vprmap')
    return tmp_path / 'small.vprmap'


def test_loops_of_a_drive(small_bag, tiny_model):
    report = evaluate_drive(small_bag, tiny_model, RULE)
    closures = report.evaluation.closures
    assert report.evaluation.queries == 45
    assert closures.matchable == 15
    assert closures.correct == 14  # the first query waits for the second to agree
    assert closures.wrong == 0
    assert report.evaluation.recall.of_matchable[0] == 1.0
    assert report.evaluation.single_best.average_precision == pytest.approx(1.0)
    assert report.evaluation.verdicts['EXCLUDED_RECENT'] == 9
    assert report.references is None
    assert report.queries[3].shape[2] == 3


def test_a_second_drive_in_the_map_of_the_first(small_map, tiny_model, tmp_path):
    bag = write_drive(tmp_path / 'again', images=20, start_ns=START_NS + DAY_NS)
    report = evaluate_drive(bag, tiny_model, RULE, map_path=small_map)
    assert report.evaluation.closures.correct == 19
    assert report.evaluation.closures.wrong == 0
    assert len(report.references) == 45


def test_the_length_of_descriptors_is_that_of_the_map(small_bag, small_map, tiny_model, tmp_path):
    compress(small_map, tmp_path / 'short.vprmap', Compression(dim=16))
    report = evaluate_drive(small_bag, tiny_model, RULE, map_path=tmp_path / 'short.vprmap')
    assert report.evaluation.setup.descriptor_length == 16 < tiny_model.descriptor_dim


def test_strangers_are_refused(small_map, tiny_model, tmp_path):
    bag = write_drive(tmp_path / 'elsewhere', images=20, seed=1, start_ns=START_NS + DAY_NS)
    report = evaluate_drive(bag, tiny_model, RULE, map_path=small_map)
    assert report.evaluation.closures.accepted == 0
    assert set(report.evaluation.verdicts) == {'LOW_SIMILARITY'}


def test_the_report_of_a_drive(small_bag, tiny_model, tmp_path):
    report = evaluate_drive(small_bag, tiny_model, RULE)
    page = write_report(report.evaluation, tmp_path / 'report', report.queries)
    figures = json.loads((tmp_path / 'report' / 'evaluation.json').read_text())
    assert figures
    assert tiny_model.id in page.read_text()


def test_images_without_a_pose_are_counted_and_not_asked(tiny_model, tmp_path):
    bag = write_drive(tmp_path / 'bag', images=45, unposed=5)
    report = evaluate_drive(bag, tiny_model, RULE)
    assert report.unposed == 5
    assert report.evaluation.queries == 40


def test_no_pose_at_all(tiny_model, small_bag):
    with pytest.raises(DatasetError, match='has a pose to judge by'):
        evaluate_drive(small_bag, tiny_model, RULE, options=DriveOptions(pose_topic='none'))


def test_a_map_without_poses_cannot_be_judged(small_bag, tiny_model, tmp_path):
    path = tmp_path / 'unposed.vprmap'
    build_map(small_bag, tiny_model, path, DriveOptions(pose_topic='none'))
    with pytest.raises(DatasetError, match='no pose, so that matches'):
        evaluate_drive(small_bag, tiny_model, RULE, map_path=path)


def test_no_such_map(small_bag, tiny_model, tmp_path):
    with pytest.raises(MapError, match='no map at'):
        evaluate_drive(small_bag, tiny_model, RULE, map_path=tmp_path / 'nothing')


def record(k, status='ACCEPTED', place=1):
    candidate = {'place_id': place, 'session_id': 1, 'stamp_ns': 0, 'similarity': 0.9}
    return {
        'query_id': k, 'stamp_ns': START_NS + k * 10**9, 'status': status, 'reason': '',
        'consistent_frames': 3, 'preprocess_ms': 1.0, 'inference_ms': 2.0, 'search_ms': 0.5,
        'candidates': [candidate],
    }  # fmt: skip


def test_live_answers_are_judged_by_the_bag(small_bag, small_map, tmp_path):
    answers = tmp_path / 'answers.jsonl'
    lines = [
        record(0, place=1),
        record(1, place=2),
        record(2, place=9),
        record(3, 'LOW_SIMILARITY'),
    ]
    answers.write_text('\n'.join(map(json.dumps, lines)))
    assert len(read_answers(answers)) == 4
    evaluation = evaluate_live(small_bag, answers, RULE, map_path=small_map).evaluation
    assert evaluation.setup.model.startswith('sage_test:')  # the map knows what made it
    assert (evaluation.closures.correct, evaluation.closures.wrong) == (2, 1)
    assert evaluation.queries == 4
    assert np.isclose(evaluation.timings['total'].p50_ms, 3.5)


@pytest.mark.parametrize('text', ['not json', '{"query_id": 1}', '[1, 2]'])
def test_files_that_are_no_answers(tmp_path, text):
    (tmp_path / 'answers').write_text(text)
    with pytest.raises(DatasetError, match='not a file of answers'):
        read_answers(tmp_path / 'answers')
    with pytest.raises(DatasetError, match='cannot read'):
        read_answers(tmp_path / 'nothing')
