"""Depth of a recording comes to the front door with its image, by every way there."""

import numpy as np
import pytest
from small_drive import DEPTH, IMAGE, START_NS, write_drive

from vpr_ros.bags.reader import open_bag
from vpr_ros.errors import BagError, DatasetError
from vpr_ros.evaluation.calibrate import calibrate_map
from vpr_ros.evaluation.drive_answers import collect
from vpr_ros.evaluation.drives import evaluate_drive
from vpr_ros.evaluation.explain_drive import answer_moment
from vpr_ros.evaluation.protocols import TruthRule
from vpr_ros.evaluation.rides import ride_of_bag
from vpr_ros.recognition.drive import NO_DEPTH, Drive, DriveOptions
from vpr_ros.recognition.mapping import build_map
from vpr_ros.recognition.recognizer import Recognizer

RULE = TruthRule('small', 1.0, heading_deg=20.0, gap_s=10.0)
COUNT = 8


@pytest.fixture(scope='module')
def deep_bag(tmp_path_factory):
    return write_drive(tmp_path_factory.mktemp('bags') / 'deep', COUNT, depth=True)


@pytest.fixture
def asked(monkeypatch):
    """Depth in millimetres over one metre of each image that the front door is asked about."""
    found, recognize = [], Recognizer.recognize

    def spy(self, image, stamp_ns, pose=None, depth=None):
        found.append(None if depth is None else corner(depth))
        return recognize(self, image, stamp_ns, pose, depth)

    monkeypatch.setattr(Recognizer, 'recognize', spy)
    return found


def corner(depth):
    assert depth.dtype == np.float32
    return round(1000 * float(depth[0, 0])) - 1000


def test_a_recording_with_depth_has_one_image_topic(deep_bag):
    with open_bag(deep_bag) as bag:
        assert set(bag.image_topics()) == {IMAGE, DEPTH}
        assert bag.image_topic() == IMAGE
        assert Drive(bag, DriveOptions()).topic == IMAGE


def test_evaluation_and_calibration_ask_with_depth(deep_bag, tiny_model, asked, tmp_path):
    evaluate_drive(deep_bag, tiny_model, RULE)
    assert asked == list(range(COUNT))
    asked.clear()
    build_map(deep_bag, tiny_model, tmp_path / 'deep.vprmap')
    with pytest.raises(DatasetError, match='a calibration takes'):
        calibrate_map(tmp_path / 'deep.vprmap', deep_bag, tiny_model, RULE)
    assert asked == list(range(COUNT))


def test_depth_that_is_not_wanted_is_not_read(deep_bag, tiny_model, asked):
    evaluate_drive(deep_bag, tiny_model, RULE, options=DriveOptions(depth_topic=NO_DEPTH))
    assert asked == [None] * COUNT


def test_a_topic_without_depth_is_an_error(deep_bag, tiny_model):
    with pytest.raises(BagError, match='gives no depth images'):
        evaluate_drive(deep_bag, tiny_model, RULE, options=DriveOptions(depth_topic=IMAGE))


def test_the_moment_that_is_explained_has_its_depth(deep_bag):
    seen = []
    moment = answer_moment(
        deep_bag, START_NS + 5 * 10**9, 0.0, 2.0, DriveOptions(), lambda topic: (
            lambda frame, pose: seen.append(corner(frame.depth))
        ),
    )  # fmt: skip
    assert seen == [3, 4, 5]
    assert corner(moment.frame.depth) == 5


def test_rides_keep_depth_as_small_as_their_images(deep_bag, tiny_model):
    ride = ride_of_bag(deep_bag, tiny_model, RULE, DriveOptions())
    depths = [query.views[0].depth for query in ride.queries]
    assert [corner(depth) for depth in depths] == list(range(COUNT))
    assert depths[0].shape == (48, 64)  # smaller than the image already


def test_what_fits_no_image_is_told(deep_bag):
    def answer(frame, pose):
        assert frame.depth is None

    options = DriveOptions(depth_gap_s=-1.0)
    with pytest.raises(DatasetError):  # nothing was answered
        collect(deep_bag, options, 'x', answer)
    with open_bag(deep_bag) as bag:
        drive = Drive(bag, options)
        assert all(x.frame.depth is None for x in drive.keyframes(depth=True))
        assert 'expected depth within -1 s' in drive.losses()[-1]
