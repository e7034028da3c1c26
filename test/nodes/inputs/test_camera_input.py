"""The model of each camera, its mounting, and how little it costs to hear them again and again."""

from contextlib import ExitStack
from dataclasses import replace

import pytest
import rclpy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from waiting import eventually

from vpr_ros.config import NodeConfig
from vpr_ros.nodes.inputs import camera_input
from vpr_ros.nodes.inputs.camera_input import CameraInput
from vpr_ros.nodes.inputs.depth import DepthBuffer
from vpr_ros.nodes.outputs.messages import to_time
from vpr_ros.records import Camera, Pose

CONFIG = NodeConfig(depth=True)
MOUNTED = Pose((0.5, 0.0, 1.0))
MODEL = Camera((480, 640), 500.0, 510.0, 320.0, 240.0)


class Frames:
    """Transforms whose answer the test changes."""

    def __init__(self):
        self.answer, self.asked = None, []

    def lookup(self, parent, child, stamp_ns):
        self.asked.append((parent, child, stamp_ns))
        return self.answer


def info(stamp_ns=0, fx=500.0, frame='optical', model='plumb_bob'):
    return CameraInfo(
        header=Header(stamp=to_time(stamp_ns), frame_id=frame), height=480, width=640,
        distortion_model=model, d=[0.0] * 5, k=[fx, 0.0, 320.0, 0.0, 510.0, 240.0, 0.0, 0.0, 1.0],
    )  # fmt: skip


class Desk:
    """A camera input on a node, its frames and what it told."""

    def __init__(self, node, stack, camera='', config=CONFIG):
        self.told, self.frames, self.depth = [], Frames(), DepthBuffer(0.05)
        self.input = CameraInput(
            node, config, camera, lambda *x: self.told.append(x), self.frames, self.depth, stack
        )

    def hear(self, message):
        self.input._take_info(serialize_message(message))


@pytest.fixture
def node(context):
    node = rclpy.create_node('cameras', context=context)
    yield node
    node.destroy_node()


@pytest.fixture
def desk(node, monkeypatch):
    """With a clock that the test sets."""
    with ExitStack() as stack:
        made = Desk(node, stack)
        made.now_s = 100.0
        monkeypatch.setattr(camera_input.time, 'monotonic', lambda: made.now_s)
        yield made


def test_the_topics_of_every_camera_are_its_own(node):
    with ExitStack() as stack:
        for name in ('', 'front', 'left/rear'):
            Desk(node, stack, name)
        heard = {x.topic_name for x in node.subscriptions}
        folders = ('', '/front', '/left/rear')
        assert heard >= {f'{x}/{y}' for x in folders for y in ('camera_info', 'depth')}
    assert not {x.topic_name for x in node.subscriptions} & heard


def test_what_the_settings_turn_off_is_not_heard(node):
    with ExitStack() as stack:
        before = len(list(node.subscriptions))
        Desk(node, stack, config=NodeConfig(camera_info=False))
        assert len(list(node.subscriptions)) == before


def test_info_and_depth_come_over_their_topics(node, spin):
    with ExitStack() as stack:
        desk = Desk(node, stack, 'front')
        desk.frames.answer = MOUNTED
        spin(node)
        node.create_publisher(CameraInfo, 'front/camera_info', 1).publish(info())
        assert eventually(lambda: desk.told) == [('front', replace(MODEL, base=MOUNTED))]
        assert desk.frames.asked == [('base_link', 'optical', None)]
        depth = Image(height=1, width=1, step=2, encoding='16UC1', data=b'\xe8\x03')
        node.create_publisher(Image, 'front/depth', 1).publish(depth)
        assert eventually(lambda: desk.depth.at(0) is not None)
        assert desk.depth.at(0)[0, 0] == 1.0


def test_an_info_that_says_nothing_new_is_not_read(desk, monkeypatch):
    desk.hear(info())
    monkeypatch.setattr(camera_input, 'deserialize_message', None)
    for stamp_ns in range(100):
        desk.hear(info(stamp_ns))
    assert desk.told == [('', MODEL)]
    assert len(desk.frames.asked) == 1


def test_the_mounting_is_asked_for_once_a_second_and_told_when_it_changes(desk):
    desk.hear(info())
    desk.frames.answer = MOUNTED
    desk.now_s += 0.9
    desk.hear(info(1))
    assert desk.told == [('', MODEL)]
    desk.now_s += 0.2
    for stamp_ns in (2, 3):
        desk.hear(info(stamp_ns))
    assert desk.told == [('', MODEL), ('', replace(MODEL, base=MOUNTED))]
    assert len(desk.frames.asked) == 2
    desk.frames.answer = Pose((2.0, 0.0, 0.0))
    desk.now_s += 1.1
    desk.hear(info(4))
    assert desk.told[-1] == ('', replace(MODEL, base=Pose((2.0, 0.0, 0.0))))


def test_another_calibration_is_told_at_once(desk):
    desk.hear(info())
    desk.hear(info(1, fx=600.0))
    assert [camera.fx for _, camera in desk.told] == [500.0, 600.0]


def test_without_a_frame_the_mounting_is_unknown(desk):
    desk.frames.answer = MOUNTED
    desk.hear(info(frame=''))
    assert desk.told == [('', MODEL)]
    assert not desk.frames.asked


@pytest.mark.parametrize(
    ('message', 'found'),
    [
        (info(fx=0.0), "not calibrated, or of distortion model 'plumb_bob'"),
        (info(model='equidistant'), "not calibrated, or of distortion model 'equidistant'"),
    ],
)
def test_a_broken_info_is_dropped_with_a_sentence(desk, capfd, message, found):
    desk.hear(info())
    desk.hear(message)
    told = capfd.readouterr().err
    assert f'/camera_info was dropped: expected a calibrated pinhole camera, found {found}' in told
    assert desk.told == [('', MODEL)]  # and the good one holds


def test_bytes_that_are_no_info_are_dropped(desk, capfd):
    desk.input._take_info(b'\0\1\0\0' + b'\xff' * 9)
    assert 'camera_info was dropped' in capfd.readouterr().err
    desk.hear(info())
    assert desk.told == [('', MODEL)]
