"""The node as it is, asked and told over DDS: what an integrator does in an afternoon."""

import time
from functools import partial

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from geometry_msgs.msg import PoseWithCovarianceStamped
from pictures import image_message, texture
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image
from std_srvs.srv import Empty, SetBool, Trigger
from visualization_msgs.msg import MarkerArray
from waiting import WAIT_S, eventually

from vpr_msgs.action import GlobalLocalize
from vpr_msgs.msg import (
    GlobalDescriptor,
    LoopClosure,
    LoopClosureAck,
    MapInfo,
    PlaceMatch,
    VprStatus,
)
from vpr_msgs.srv import LoadMap, MergeMap, QueryImage, SaveMap
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.models import build_model
from vpr_ros.records import Place, Pose

NODE = '/place_recognition'
KEPT = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
DEEP = QoSProfile(depth=100)


def make_map(path, weights, numbers, frame='map'):
    """A map of pictures, ten metres apart."""
    model = build_model('sage_test', 'cpu', weights)
    with PlaceMap.create(
        path, model.name, model.fingerprint, model.descriptor_dim, frame
    ) as place_map:
        session = place_map.add_session(f'drive {min(numbers)}')
        for number in numbers:
            descriptor = model.describe([texture(number)]).descriptor[0].cpu().numpy()
            pose = Pose((10.0 * number, 0.0, 0.0))
            place_map.add(Place(0, session, number * 10**9, pose), descriptor)
    return str(path)


class Robot:
    """A camera, and somebody who asks; whatever the node says is kept."""

    HEARD = (
        (PlaceMatch, '/place_match', DEEP), (LoopClosure, '/loop_closure', DEEP),
        (PoseWithCovarianceStamped, '/pose', DEEP), (GlobalDescriptor, '/descriptor', DEEP),
        (MapInfo, '/map_info', KEPT), (VprStatus, '/status', KEPT),
    )  # fmt: skip

    def __init__(self, outside, node):
        self.outside, self.node = outside, node
        self.heard = {type_: [] for type_, _, _ in self.HEARD}
        self.second = 0
        for type_, topic, qos in self.HEARD:
            outside.create_subscription(type_, NODE + topic, self.heard[type_].append, qos)
        self.images = outside.create_publisher(Image, '/image', DEEP)
        self.acks = outside.create_publisher(LoopClosureAck, f'{NODE}/loop_closure_ack', DEEP)

    def sees(self, number):
        """Show a picture to the camera, and give the answer."""
        eventually(self.images.get_subscription_count)
        eventually(lambda: all(
            p.get_subscription_count() for p in self.node.publishers
            if p.topic_name.endswith(('/place_match', '/loop_closure', '/place_recognition/pose'))
        ))  # fmt: skip
        self.second += 1
        message = image_message(number, self.second)
        message.data[0] = self.second % 256  # the very same image would be no new evidence
        count = len(self.heard[PlaceMatch])
        self.images.publish(message)
        eventually(lambda: len(self.heard[PlaceMatch]) > count)
        return self.heard[PlaceMatch][-1]

    def asks(self, type_, name, **fields):
        return eventually_result(self.begins(type_, name, **fields))

    def begins(self, type_, name, **fields):
        client = self.outside.create_client(type_, name)
        assert client.wait_for_service(WAIT_S)
        return client.call_async(type_.Request(**fields))

    def latest(self, type_):
        return self.heard[type_][-1]


def eventually_result(future):
    eventually(future.done)
    return future.result()


@pytest.fixture
def start(make_node, context, spin):
    outside = Node('outside', context=context)

    def started(**settings):
        node = make_node(**{'decision.consistent_frames': 1, **settings})
        robot = Robot(outside, node)
        spin(node, outside)
        assert node.start()
        return robot

    yield started
    outside.destroy_node()


@pytest.fixture
def office(tmp_path, weights):
    return make_map(tmp_path / 'office.vprmap', weights, range(10))


def test_a_match_a_closure_a_pose_a_descriptor_and_the_status(start, office):
    robot = start(map=office, publish_descriptor=True)
    match = robot.sees(3)
    assert match.status == PlaceMatch.STATUS_ACCEPTED, match.status_text
    eventually(lambda: robot.heard[PoseWithCovarianceStamped])
    pose = robot.latest(PoseWithCovarianceStamped)
    assert (pose.header.frame_id, pose.header.stamp) == ('map', match.header.stamp)
    assert pose.pose.pose.position.x == 30.0
    assert np.linalg.eigvalsh(pose.pose.covariance.reshape(6, 6)).min() > 0.0
    eventually(lambda: robot.heard[GlobalDescriptor])
    assert robot.latest(GlobalDescriptor).query_id == match.query_id
    eventually(lambda: robot.heard[LoopClosure])
    robot.acks.publish(LoopClosureAck(backend='test', status=LoopClosureAck.ACCEPTED))
    eventually(lambda: robot.latest(VprStatus).closures_accepted == 1)
    status = robot.latest(VprStatus)
    assert (status.state, status.accepted, status.queries) == (VprStatus.LOCALIZED, 1, 1)
    info = robot.latest(MapInfo)
    assert (info.places, info.header.frame_id, info.uuid) == (10, 'map', match.map_uuid)
    assert info.url == f'file://{office}' and not info.writable


def test_late_subscribers_are_told_map_and_status(start, office, context):
    robot = start(map=office)
    eventually(lambda: robot.heard[MapInfo])
    late = []
    robot.outside.create_subscription(MapInfo, f'{NODE}/map_info', late.append, KEPT)
    robot.outside.create_subscription(VprStatus, f'{NODE}/status', late.append, KEPT)
    eventually(lambda: {type(x) for x in late} >= {MapInfo, VprStatus})


def test_another_map_at_run_time(start, office, tmp_path, weights, other_weights):
    robot = start(map=office)
    assert robot.sees(20).status == PlaceMatch.STATUS_LOW_SIMILARITY
    second = make_map(tmp_path / 'second floor.vprmap', weights, range(20, 30))
    foreign = make_map(tmp_path / 'foreign.vprmap', other_weights, range(3))
    load = partial(robot.asks, LoadMap, f'{NODE}/load_map')
    assert load(map_url=foreign).result == LoadMap.Response.MODEL_MISMATCH
    assert load(map_url='/nowhere.vprmap').result == LoadMap.Response.DOES_NOT_EXIST
    assert robot.sees(3).status == PlaceMatch.STATUS_ACCEPTED  # the map before is still there
    loaded = load(map_url=f'file://{tmp_path}/second%20floor.vprmap', verify=True)
    assert loaded.result == LoadMap.Response.SUCCESS, loaded.message
    assert (loaded.info.places, loaded.info.url) == (10, f'file://{second.replace(" ", "%20")}')
    eventually(lambda: robot.latest(MapInfo).uuid == loaded.info.uuid)
    assert robot.sees(20).status == PlaceMatch.STATUS_ACCEPTED


def test_a_map_in_memory_is_saved_and_merged_into(start, tmp_path, office, weights):
    robot = start(mode='map', **{'keyframes.period_s': 0.5})
    for number in (20, 21, 22):
        assert robot.sees(number).recorded
    merged = robot.asks(MergeMap, f'{NODE}/merge_map', map_url=office)
    assert (merged.result, merged.places_added) == (MergeMap.Response.SUCCESS, 10), merged.message
    assert robot.sees(4).candidates[0].stamp.sec == 4  # a place that was merged in
    save = partial(robot.asks, SaveMap, f'{NODE}/save_map')
    assert save().result == SaveMap.Response.NO_NAME
    path = tmp_path / 'saved.vprmap'
    assert save(map_url=str(path)).result == SaveMap.Response.SUCCESS
    assert save(map_url=str(path)).result == SaveMap.Response.EXISTS
    with PlaceMap.open(path, fingerprint=None) as place_map:
        assert len(place_map) == 14


def test_one_image_is_asked_about(start, office):
    robot = start(map=office)
    asked = robot.asks(QueryImage, f'{NODE}/query_image', image=image_message(7), top_k=2)
    assert asked.success and len(asked.match.candidates) == 2
    assert asked.match.candidates[0].stamp.sec == 7
    broken = image_message(7)
    broken.encoding = 'octarine8'
    refused = robot.asks(QueryImage, f'{NODE}/query_image', image=broken)
    assert not refused.success and 'octarine8' in refused.message
    assert robot.sees(3).query_id == 0  # the live queries did not notice


def test_pause_resume_reset(start, office):
    robot = start(map=office)
    robot.sees(3)
    assert robot.asks(SetBool, f'{NODE}/pause', data=True).success
    eventually(lambda: robot.latest(VprStatus).state == VprStatus.PAUSED)
    robot.images.publish(image_message(4, 50.0))
    eventually(lambda: sum(flow.received for flow in robot.node.flows.values()) == 2)
    assert robot.asks(Trigger, f'{NODE}/resume').success
    robot.second = 60
    assert robot.sees(5).query_id == 1
    assert robot.asks(Trigger, f'{NODE}/reset').success
    eventually(lambda: robot.latest(VprStatus).queries == 0)


def test_the_outcome_of_a_localization_is_the_real_one(start, office):
    robot = start(map=office, localize_timeout_s=1.5)
    trigger = partial(robot.begins, Trigger, f'{NODE}/trigger_localization')
    future = trigger()
    eventually(lambda: robot.node.attempts.running)
    robot.sees(77)  # a stranger
    nothing = eventually_result(future)
    assert not nothing.success and 'similarity' in nothing.message
    future = trigger()
    eventually(lambda: robot.node.attempts.running)
    time.sleep(0.05)  # armed in the worker
    robot.sees(6)
    found = eventually_result(future)
    assert found.success, found.message
    assert robot.asks(Empty, '/reinitialize_global_localization') is not None


def test_the_action_finds_the_robot_and_can_be_cancelled(start, office):
    robot = start(map=office)
    client = ActionClient(robot.outside, GlobalLocalize, f'{NODE}/localize')
    assert client.wait_for_server(WAIT_S)
    feedback = []
    for cancel in (False, True):
        goal = GlobalLocalize.Goal(max_duration_s=20.0)
        handle = eventually_result(client.send_goal_async(goal, feedback_callback=feedback.append))
        assert handle.accepted
        result = handle.get_result_async()
        eventually(lambda: robot.node.attempts.running)
        time.sleep(0.05)
        robot.sees(77)
        if cancel:
            eventually_result(handle.cancel_goal_async())
        else:
            robot.sees(8)
        ended = eventually_result(result)
        if cancel:
            assert ended.status == GoalStatus.STATUS_CANCELED
            assert ended.result.status == GlobalLocalize.Result.CANCELED
        else:
            assert ended.status == GoalStatus.STATUS_SUCCEEDED
            assert ended.result.pose_valid and ended.result.pose.pose.pose.position.x == 80.0
        assert ended.result.pose.header.frame_id == 'map'
        assert ended.result.pose.pose.covariance.reshape(6, 6).diagonal().min() > 0.0
    assert feedback and feedback[0].feedback.queries >= 1
    client.destroy()


def test_thresholds_are_changed_over_the_air(start, office):
    robot = start(map=office)
    assert robot.sees(3).status == PlaceMatch.STATUS_ACCEPTED
    name = 'decision.consistent_frames'
    assert robot.node.set_parameters([Parameter(name, value=9)])[0].successful
    eventually(lambda: robot.node.responder.config.decision.consistent_frames == 9)
    match = robot.sees(3)
    assert (match.status, match.required_frames) == (PlaceMatch.STATUS_TEMPORAL_PENDING, 9)


def test_markers_and_debug_images_go_to_those_who_look(start, office):
    robot = start(map=office)
    markers, pictures = [], []
    robot.outside.create_subscription(MarkerArray, f'{NODE}/markers', markers.append, DEEP)
    robot.outside.create_subscription(
        Image, f'{NODE}/debug_image', pictures.append, QoSProfile(depth=5)
    )
    eventually(lambda: all(
        p.get_subscription_count() for p in robot.node.publishers
        if p.topic_name.endswith('/markers')
    ))  # fmt: skip
    robot.sees(3)
    eventually(lambda: any(
        marker.text for array in markers for marker in array.markers
    ))  # fmt: skip


def test_everybody_is_told_when_the_node_goes_down(start, office):
    robot = start(map=office, localize_timeout_s=30.0)
    future = robot.begins(Trigger, f'{NODE}/trigger_localization')
    eventually(lambda: robot.node.attempts.running)
    assert robot.node.trigger_deactivate()
    refused = eventually_result(future)
    assert not refused.success and 'deactivated' in refused.message
    asleep = robot.asks(Trigger, f'{NODE}/trigger_localization')
    assert not asleep.success and 'not active' in asleep.message
    eventually(lambda: robot.latest(VprStatus).state == VprStatus.INACTIVE)
