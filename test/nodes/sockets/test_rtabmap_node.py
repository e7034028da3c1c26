"""The whole socket over DDS, against a stub that keeps RTAB-Map's rules."""

import threading

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from nav_msgs.msg import Odometry
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from rtabmap_closures import BASE, closure
from stub_rtabmap import Graph, StubRtabmap
from waiting import eventually

from vpr_msgs.msg import LoopClosure, LoopClosureAck
from vpr_ros.errors import ConfigError, RosError
from vpr_ros.nodes.outputs.messages import NS, to_pose, to_time
from vpr_ros.nodes.sockets import rtabmap_node
from vpr_ros.nodes.sockets.rtabmap_node import RtabmapLinks
from vpr_ros.records import Pose

ACCEPTED, REJECTED, UNKNOWN = (
    LoopClosureAck.ACCEPTED, LoopClosureAck.REJECTED, LoopClosureAck.UNKNOWN,
)  # fmt: skip


class Neighbours:
    """The live node's side: closures out, answers in."""

    def __init__(self, node, namespace):
        self.acks, self.diagnostics, self._node = [], [], node
        self._odom = node.create_publisher(Odometry, f'{namespace}/odom', qos_profile_sensor_data)
        self._closures = node.create_publisher(LoopClosure, f'{namespace}/loop_closure', 100)
        node.create_subscription(
            LoopClosureAck, f'{namespace}/loop_closure_ack', self.acks.append, 100
        )
        node.create_subscription(DiagnosticArray, '/diagnostics', self._hear, 10)
        self._name = f'{namespace}/rtabmap_links: socket'.lstrip('/')

    def _hear(self, array):
        self.diagnostics += [x for x in array.status if x.name == self._name]

    def now_s(self):
        return self._node.get_clock().now().nanoseconds / NS

    def close(self, message):
        self._closures.publish(message)

    def odometry(self, at_s, x_m):
        message = Odometry(child_frame_id=BASE)
        message.header.stamp = to_time(round(at_s * NS))
        message.pose.pose = to_pose(Pose((x_m, 0.0, 0.0)))
        self._odom.publish(message)

    def connected(self):
        return self._closures.get_subscription_count() and self._odom.get_subscription_count()

    def status_of(self, number):
        return next((a for a in reversed(self.acks) if a.closure_id == number and a.status), None)


@pytest.fixture
def socket(context, spin, request):
    """Give the socket with settings, the live node's side and RTAB-Map's."""
    made, stop, nodes = [], threading.Event(), []

    def start(rtabmap=True, answering=True, **settings):
        namespace = f'/{request.node.name.partition("[")[0][-40:]}'
        settings.setdefault('rtabmap', f'{namespace}/slam')
        overrides = [Parameter(name, value=value) for name, value in settings.items()]
        ours = RtabmapLinks(
            stop, context=context, namespace=namespace, parameter_overrides=overrides
        )
        theirs = rclpy.create_node('rtabmap', context=context, namespace=namespace)
        live = rclpy.create_node('live', context=context, namespace=namespace)
        nodes.extend((ours, theirs, live))
        stub = None
        if rtabmap:
            stub = StubRtabmap(theirs, Graph(), settings['rtabmap'], answering)
        neighbours = Neighbours(live, namespace)
        spin(ours, theirs, live)
        thread = threading.Thread(target=ours.carry_out)
        thread.start()
        made.append(thread)
        eventually(neighbours.connected)
        return ours, neighbours, stub

    yield start
    stop.set()
    for thread in made:
        thread.join()
    for node in nodes:
        node.destroy_node()


def driven(neighbours, stub, images=6):
    """RTAB-Map has seen the last seconds, one image in each; gives when the last one was."""
    now_s = neighbours.now_s()
    eventually(stub._info.get_subscription_count)
    eventually(stub._graph.get_subscription_count)
    for at in range(images):
        stub.image(round((now_s - images + 1 + at) * NS))
    return now_s


def test_a_closure_is_linked_and_acknowledged(socket):
    _, neighbours, stub = socket()
    now_s = driven(neighbours, stub)
    neighbours.close(closure(5, now_s, now_s - 4))
    eventually(lambda: stub.requests)
    [link] = stub.requests
    assert (link.from_id, link.to_id, link.type) == (6, 2, 4)
    assert not stub.died
    stub.image(round((now_s + 1) * NS))
    eventually(lambda: neighbours.status_of(5))
    ack = neighbours.status_of(5)
    assert (ack.status, ack.backend) == (ACCEPTED, 'rtabmap')
    states = [a.status for a in neighbours.acks if a.closure_id == 5]
    assert states == [LoopClosureAck.PENDING, ACCEPTED]
    eventually(lambda: any('1 closures accepted' in d.message for d in neighbours.diagnostics))


def test_odometry_is_folded_in(socket):
    ours, neighbours, stub = socket()
    now_s = neighbours.now_s()
    for tenth in range(71):  # one metre a second
        neighbours.odometry(now_s - 6 + tenth / 10, tenth / 10)
        threading.Event().wait(0.001)
    eventually(lambda: len(ours._track) and ours._track.newest_ns() > (now_s + 0.9) * NS)
    driven_s = driven(neighbours, stub)
    pose = Pose((-3.0, 0.0, 0.0))
    neighbours.close(closure(1, driven_s - 0.3, driven_s - 3.3, pose))
    eventually(lambda: stub.requests)
    [link] = stub.requests
    assert (link.from_id, link.to_id) == (6, 3)
    assert link.transform.translation.x == pytest.approx(-3.0, abs=0.02)
    assert not stub.died


def test_rtabmap_that_is_not_there_is_told_of(socket):
    _, neighbours, _ = socket(rtabmap=False, max_age_s=0.5)
    neighbours.close(closure(1, neighbours.now_s(), neighbours.now_s() - 60))
    eventually(lambda: neighbours.status_of(1))
    assert neighbours.status_of(1).status == UNKNOWN
    eventually(lambda: neighbours.diagnostics)
    assert neighbours.diagnostics[-1].level == DiagnosticStatus.WARN
    assert 'add_link is not there' in neighbours.diagnostics[-1].message


def test_a_service_that_never_answers_is_given_up(socket, context):
    ours, neighbours, stub = socket(answering=False, call_timeout_s=0.5)
    # The service is there, and nobody spins its node.
    deaf = rclpy.create_node('deaf', context=context)
    deaf.create_service(rtabmap_node.AddLink, f'{ours._config.rtabmap}/add_link', lambda *x: x[1])
    now_s = driven(neighbours, stub)
    neighbours.close(closure(1, now_s, now_s - 4))
    eventually(lambda: neighbours.status_of(1))
    assert neighbours.status_of(1).status == UNKNOWN
    assert 'did not answer' in neighbours.status_of(1).reason
    deaf.destroy_node()


def test_older_nodes_are_learnt_from_the_map(socket):
    _, neighbours, stub = socket()
    now_s = neighbours.now_s()
    for at in range(3):
        stub.graph.add_node(round((now_s - 1000 + at) * NS))
    now_s = driven(neighbours, stub)
    neighbours.close(closure(1, now_s, now_s - 999))
    eventually(lambda: stub.requests)
    assert stub.requests[0].to_id in (1, 2)
    assert stub.questions == 1


def test_bad_messages_raise_nothing_and_reach_nobody(socket):
    _, neighbours, stub = socket()
    now_s = driven(neighbours, stub)
    bad = closure(1, now_s, now_s - 4)
    bad.relative_pose.covariance[0] = float('nan')
    for number, message in enumerate((LoopClosure(), bad, closure(1, now_s, now_s - 4, kind=250))):
        message.closure_id = number
        neighbours.close(message)
    for number in range(3):
        eventually(lambda number=number: neighbours.status_of(number))
        assert neighbours.status_of(number).status == REJECTED
    assert not stub.requests
    neighbours.close(closure(9, now_s, now_s - 4))
    eventually(lambda: stub.requests)  # it lives


def test_without_rtabmap_msgs_one_sentence_says_so(context, monkeypatch):
    monkeypatch.setattr(rtabmap_node, 'Info', None)
    node = RtabmapLinks(threading.Event(), context=context)
    with pytest.raises(RosError, match='rtabmap_msgs is not there: install'):
        node.carry_out()
    node.destroy_node()


@pytest.mark.parametrize(('name', 'value'), [('least_kind', 'exact'), ('rtabmap', '/no space')])
def test_a_wrong_setting_is_wrong_use(name, value, context):
    node = RtabmapLinks(
        threading.Event(), context=context, parameter_overrides=[Parameter(name, value=value)]
    )
    with pytest.raises(ConfigError, match=name):
        node.carry_out()
    node.destroy_node()
