"""The start-up over DDS, beside a stand-in of slam_toolbox."""

import threading
import time
from contextlib import ExitStack

import pytest
import rclpy
from geometry_msgs.msg import PoseWithCovarianceStamped
from localisers import a_match, own_pose
from rclpy.parameter import Parameter
from slam_toolbox.srv import DeserializePoseGraph
from std_srvs.srv import Empty
from waiting import eventually

from vpr_msgs.msg import PlaceMatch
from vpr_ros.errors import ConfigError
from vpr_ros.nodes import session
from vpr_ros.nodes.sockets import slam_toolbox_node, socket_node
from vpr_ros.nodes.sockets.slam_toolbox_node import SlamToolboxStart
from vpr_ros.nodes.sockets.slam_toolbox_rules import Phase


class SlamToolbox:
    """As its sources have it: a mapping node refuses silently; the answer is always empty."""

    def __init__(self, context, files=('office',), localizes=True):
        self.files, self.localizes, self.requests = files, localizes, []
        self.node = rclpy.create_node('slam_toolbox', context=context)
        self.pose = self.node.create_publisher(PoseWithCovarianceStamped, 'pose', 10)
        self.service = self.node.create_service(
            DeserializePoseGraph, 'slam_toolbox/deserialize_map', self._deserialize
        )
        if localizes:
            self.node.create_service(
                Empty, 'slam_toolbox/clear_localization_buffer', lambda _, answer: answer
            )
        self.node.create_timer(0.05, self._scan)
        self.here = None

    def _deserialize(self, request, response):
        self.requests.append(request)
        wanted = request.match_type == DeserializePoseGraph.Request.LOCALIZE_AT_POSE
        if wanted and self.localizes and request.filename in self.files:
            self.here = request.initial_pose
        return response

    def _scan(self):
        if self.here:
            self.pose.publish(own_pose(time.time(), self.here.x, self.here.y, self.here.theta))


@pytest.fixture
def bench(context, spin, monkeypatch):
    """Start the socket with settings, beside a slam_toolbox or none."""
    monkeypatch.setattr(socket_node, 'LOOK_UP_S', 0.02)
    monkeypatch.setattr(session, 'LOOK_UP_S', 0.05)
    with ExitStack() as stack:

        def start(neighbour, **settings):
            stop = threading.Event()
            live = rclpy.create_node('live', context=context)
            matches = live.create_publisher(PlaceMatch, 'place_match', 10)
            overrides = [Parameter(k, value=v) for k, v in settings.items()]
            node = SlamToolboxStart(stop, context=context, parameter_overrides=overrides)
            for made in (live, node, *([neighbour.node] if neighbour else [])):
                stack.callback(made.destroy_node)
                spin(made)
            living = threading.Thread(target=node.carry_out, daemon=True)
            living.start()
            stack.callback(living.join)
            stack.callback(stop.set)
            eventually(lambda: node._begun and matches.get_subscription_count())
            return node, lambda: matches.publish(a_match(time.time(), 3.0, 4.0, 0.5, frames=3))

        yield start


def test_slam_toolbox_loads_its_map_where_the_robot_is(context, bench):
    slam = SlamToolbox(context)
    node, say = bench(slam, map_file='office')
    eventually(lambda: say() or node._rules.phase is Phase.DONE)
    [request] = slam.requests
    assert (request.filename, request.match_type) == ('office', 3)
    assert (request.initial_pose.x, request.initial_pose.y) == (3.0, 4.0)
    assert request.initial_pose.theta == pytest.approx(0.5)
    assert not node.standing()[0]


def test_a_file_that_is_not_there(context, bench):
    slam = SlamToolbox(context)
    node, say = bench(slam, map_file='attic', attempts=2, confirm_s=0.3, retry_s=0.1)
    eventually(lambda: say() or node._rules.phase is Phase.GIVEN_UP)
    assert len(slam.requests) == 2
    warning, words, figures = node.standing()
    assert warning
    assert 'attic.posegraph' in words
    assert figures['attempts'] == 2


def test_a_mapping_node_is_never_called(context, bench):
    slam = SlamToolbox(context, localizes=False)
    node, say = bench(slam, map_file='office')
    eventually(lambda: say() or 'a mapping node cannot localise' in node.standing()[1])
    for _ in range(20):
        say()
    assert slam.requests == []


def test_without_the_package_it_says_so(bench, monkeypatch):
    monkeypatch.setattr(slam_toolbox_node, 'deserialize_type', lambda: None)
    node, say = bench(None, map_file='office')
    eventually(lambda: say() or 'package slam_toolbox is not there' in node.standing()[1])


def test_another_version_of_the_service_ends_nothing(context, bench):
    slam = SlamToolbox(context)
    node, say = bench(slam, map_file='office', attempts=1)
    eventually(lambda: node._neighbour().localizes)

    class Other:
        class Request:
            pass

    node._type = Other
    eventually(lambda: say() or node._rules.phase is Phase.GIVEN_UP)
    assert 'could not be called: AttributeError' in node.standing()[1]


def test_a_map_is_needed_without_its_ending(context):
    for name in ('', 'office.posegraph'):
        node = SlamToolboxStart(
            threading.Event(), context=context,
            parameter_overrides=[Parameter('map_file', value=name)],
        )  # fmt: skip
        with pytest.raises(ConfigError, match='map_file'):
            node.carry_out()
        node.destroy_node()
