"""The bundled model on real drives: what the model card promises of them holds."""

from dataclasses import replace

import numpy as np
import pytest
from shared_data import shared_data

from vpr_ros.config import RecognizerConfig
from vpr_ros.errors import DatasetError
from vpr_ros.evaluation.datasets import read_dataset
from vpr_ros.evaluation.evaluate import DescribedSet, Options, evaluate_descriptors
from vpr_ros.evaluation.loop_sets import close_loops, describe
from vpr_ros.evaluation.protocols import Track
from vpr_ros.evaluation.rides import play, ride_through
from vpr_ros.evaluation.stages import (
    Stage,
    bare,
    by_inliers,
    by_similarity,
    chain,
    compare,
    with_verification,
)
from vpr_ros.models import build_model
from vpr_ros.recognition.confirming import thorough


@pytest.fixture(scope='module')
def nano():
    return build_model('sage_nano', 'cpu')


def test_a_drone_in_a_room(nano):
    data = read_dataset('euroc', shared_data())
    x = describe(nano, data.images)
    found = evaluate_descriptors(
        DescribedSet(x, data.track), None, data.rule, options=Options(replicates=0)
    )
    # Above the MobileNet-NetVLAD figures of the data's README: 0.44 and 0.29.
    assert found.recall.of_matchable[0] > 0.55
    assert found.single_best.average_precision > 0.4
    closures = close_loops(nano, data, x).closures
    assert closures.wrong == 0
    assert closures.correct >= 1


def test_a_street_without_a_loop(nano):
    data = read_dataset('kitti-noloop', shared_data())
    assert data.rule.gap_s == 2.0  # the default of 10 s would leave out the whole clip
    closures = close_loops(nano, data, describe(nano, data.images)).closures
    assert closures.accepted == 0


@pytest.mark.parametrize('name', ['sage_nano', 'folpp_nano'])
def test_nothing_is_closed_on_a_street_without_a_loop_by_any_stage(name):
    data = read_dataset('kitti-noloop', shared_data())
    model = build_model(name, 'cpu')
    ride = ride_through(model, data, lambda done, total: None)
    assert not any(answer.accepted for answer in play(model, ride, RecognizerConfig()))
    answers = play(model, ride, thorough(RecognizerConfig()))
    assert not any(answer.accepted for answer in answers)
    asked = [answer for answer in answers if answer.candidates]
    assert len(asked) > 25  # there was something to deceive it
    assert all(answer.best.verification is not None for answer in asked)


def test_geometry_lifts_the_drone_in_a_room():
    """Average precision by inliers against that by similarity, over the same candidates."""
    data = read_dataset('euroc', shared_data())
    nano = build_model('folpp_nano', 'cpu')
    ride = ride_through(nano, data, lambda done, total: None)
    chosen = [
        Stage('similarity', bare, by_similarity),
        Stage('verified', chain(bare, with_verification), by_inliers),
    ]
    alone, verified = (result.figures() for result in compare(nano, ride, RecognizerConfig(),
                                                              chosen))  # fmt: skip
    assert verified['ap'] > alone['ap'] + 0.05
    assert verified['r@100p'] >= alone['r@100p']


def test_a_set_without_positions_cannot_be_driven(nano):
    data = read_dataset('kitti-noloop', shared_data())
    bare = replace(data, track=Track(stamps_ns=data.track.stamps_ns))
    with pytest.raises(DatasetError, match='needs stamps and positions'):
        close_loops(nano, bare, np.zeros((51, nano.descriptor_dim), np.float32))
