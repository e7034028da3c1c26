"""Every service and the action over DDS, asked by a node in a context of its own."""

import itertools
import os
import queue
import threading
from contextlib import ExitStack
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import rclpy
from action_msgs.msg import GoalStatus
from pictures import image_message
from rclpy.action import ActionClient
from std_srvs.srv import Empty, SetBool, Trigger
from waiting import eventually

from vpr_msgs.action import GlobalLocalize
from vpr_msgs.msg import PlaceCandidate, PlaceMatch
from vpr_msgs.srv import LoadMap, MergeMap, QueryImage, SaveMap
from vpr_ros.config import NodeConfig
from vpr_ros.errors import ImageError, MapError, RosError
from vpr_ros.nodes.outputs.messages import NOWHERE, uncertain
from vpr_ros.nodes.services import calls
from vpr_ros.nodes.services.localization import Attempt, Attempts, Ending
from vpr_ros.nodes.session import spinning_node
from vpr_ros.nodes.transport import TRANSPORTS

CONFIG = NodeConfig(localize_timeout_s=0.3, camera_frame='camera')
REINITIALIZE = 'reinitialize_global_localization'
numbers = itertools.count()


class Job:
    """What a worker was asked to do."""

    def __init__(self, act):
        self.act = act
        self.value = self.error = None
        self.over = threading.Event()

    def run(self):
        try:
            self.value = self.act()
        except Exception as error:
            self.error = error
        self.over.set()

    def done(self):
        return self.over.is_set()

    def result(self):
        if self.error:
            raise self.error
        return self.value


class Worker:
    """A thread that does what it is asked, while it is not held."""

    def __init__(self, wake):
        self.wake = wake
        self.jobs = queue.Queue()
        self.free = threading.Event()
        self.free.set()
        self.refusing = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def ask(self, act):
        if self.refusing:
            raise RosError('the worker has ended')
        job = Job(act)
        self.jobs.put(job)
        return job

    def run(self):
        while job := self.jobs.get():
            self.free.wait()
            job.run()
            self.wake()

    def close(self):
        self.jobs.put(None)  # what it was asked for before is done


class Responder:
    """Counts what it is asked for."""

    def __init__(self):
        self.config = CONFIG
        place_map = SimpleNamespace(info=SimpleNamespace(frame='world'))
        self.recognizer = SimpleNamespace(place_map=place_map)
        self.paused = False
        self.forgotten = self.cleared = 0

    def forget(self):
        self.forgotten += 1

    def reset(self):
        self.cleared += 1

    def query(self, message, top_k):
        if len(message.data) < 10:
            raise ImageError('the image cannot be decoded')
        return match(PlaceMatch.STATUS_LOW_SIMILARITY, top_k=top_k)


class Robot:
    """A node with everything that can be asked for; `answer` stands for an image answered."""

    def __init__(self, host):
        self.active = True
        self.node = rclpy.create_node(
            'node', context=host.context, namespace=f'/robot{next(numbers)}'
        )
        self.responder = Responder()
        self.worker = Worker(self.wake)
        self.attempts = Attempts(self.responder.forget)
        self.stack = ExitStack()
        self.stack.callback(self.worker.close)
        self.calls = calls.Calls(
            self.node, self.responder, self.worker, self.attempts, self.stack, lambda: self.active
        )
        self.executor = host.executor
        self.executor.add_node(self.node)

    def wake(self):
        self.executor.wake()

    def answer(self, *matches):
        eventually(self.worker.ask(lambda: [self.attempts.take(x) for x in matches]).done)

    def shut_down(self):
        """As a transition does: in the thread of the executor, all in one call-back."""

        def act():
            self.active = False
            self.attempts.abort('the node was deactivated meanwhile')
            self.stack.close()

        eventually(self.executor.create_task(act).done)

    def end(self):
        self.shut_down()
        eventually(lambda: not services_of(self))
        self.executor.remove_node(self.node)
        eventually(self.executor.create_task(self.node.destroy_node).done)

    def name(self, name):
        space = self.node.get_namespace()
        return f'{space}/{name}' if name == REINITIALIZE else f'{space}/node/{name}'


def services_of(robot):
    """Those of the robot itself: every node has others for its parameters."""
    names = [x.srv_name for x in robot.node.services]
    return [x for x in names if 'parameter' not in x and 'type_description' not in x]


@pytest.fixture(scope='module')
def transports(environment):
    """Not LARGE_DATA: there a participant that leaves while others stay may wait for ever.

    In Fast DDS 3.2, TCPChannelResourceBasic::disconnect waits for the lock of a read under way.
    """
    return {name: value for name, value in os.environ.items() if name != TRANSPORTS}


@pytest.fixture(scope='module')
def host(transports):
    with spinning_node('host', transports) as node:
        yield node


@pytest.fixture
def robot(host):
    made = Robot(host)
    yield made
    made.end()


@pytest.fixture(scope='module')
def client(transports):
    with spinning_node('client', transports) as node:
        yield node


@pytest.fixture(scope='module', autouse=True)
def leaving(transports):
    """A client, found by all others in time, and the way to end it with its context."""
    with ExitStack() as stack:
        yield stack.enter_context(spinning_node('leaving', transports)), stack.close


@pytest.fixture
def call(robot, client):
    """Call a service of the robot; `call.later` gives the future of the answer."""

    def later(type_, name, **fields):
        asking = client.create_client(type_, robot.name(name))
        assert asking.wait_for_service(10.0)
        return asking.call_async(type_.Request(**fields))

    def now(*args, **fields):
        future = later(*args, **fields)
        eventually(future.done)
        return future.result()

    now.later = later
    return now


class Goals:
    """Sends goals, and keeps the feedback."""

    def __init__(self, robot, client):
        self.client = ActionClient(client, GlobalLocalize, robot.name('localize'))
        assert self.client.wait_for_server(10.0)
        self.feedback = []

    def send(self, **fields):
        sent = self.client.send_goal_async(
            GlobalLocalize.Goal(**fields), lambda x: self.feedback.append(x.feedback)
        )
        eventually(sent.done)
        return sent.result(), sent.result().get_result_async()


def ended(future):
    eventually(future.done)
    return future.result().status, future.result().result


@pytest.fixture
def goals(robot, client):
    made = Goals(robot, client)
    yield made
    made.client.destroy()


def match(status=PlaceMatch.STATUS_ACCEPTED, similarity=0.9, top_k=1, posed=True):
    candidates = [PlaceCandidate(place_id=k, similarity=similarity) for k in range(top_k)]
    made = PlaceMatch(status=status, candidates=candidates, map_frame='world', status_text='why')
    made.pose = uncertain(NOWHERE, CONFIG)
    made.pose.pose.position.x = 2.0
    made.pose_valid = posed and status == PlaceMatch.STATUS_ACCEPTED
    made.header.stamp.sec = 7
    return made


def require_whole(result):
    """Frame and covariance are stated whatever happened."""
    assert result.pose.header.frame_id == result.match.map_frame == 'world'
    for pose in (result.pose.pose, result.match.pose):
        assert (np.diag(pose.covariance.reshape(6, 6)) > 0).all()


def waiting_attempt(robot, count=1):
    eventually(lambda: robot.attempts.running == count and robot.responder.forgotten == count)


def test_trigger_answers_where_the_robot_is(robot, call):
    future = call.later(Trigger, 'trigger_localization')
    waiting_attempt(robot)
    robot.answer(match(PlaceMatch.STATUS_LOW_SIMILARITY, 0.1), match())
    eventually(future.done)
    assert future.result().success
    assert 'place 0 of session 0, similarity 0.900: x 2.00' in future.result().message
    assert (robot.attempts.running, robot.attempts.latest.ending) == (0, Ending.LOCALIZED)


def test_trigger_answers_that_the_robot_was_not_found(robot, call):
    future = call.later(Trigger, 'trigger_localization')
    waiting_attempt(robot)
    robot.answer(match(PlaceMatch.STATUS_AMBIGUOUS))
    eventually(future.done)
    assert not future.result().success
    assert future.result().message.startswith('not localised within 0.3 s: 1 image looked at')


def test_others_are_answered_while_one_waits(robot, call):
    robot.worker.free.clear()
    slow = call.later(Trigger, 'reset')
    assert call(SetBool, 'pause', data=True).success
    assert robot.responder.paused
    assert call(Trigger, 'trigger_localization').message.startswith('the node is paused')
    assert call(Trigger, 'resume').message == 'resumed'
    assert not robot.responder.paused
    assert call(Trigger, 'resume').message == 'it was not paused'
    assert not slow.done()
    robot.worker.free.set()
    eventually(slow.done)
    assert slow.result().success
    assert robot.responder.cleared == 1


def test_query_image_answers_one_image_or_says_why_not(robot, call):
    found = call(QueryImage, 'query_image', image=image_message(1), top_k=3)
    assert (found.success, found.message, len(found.match.candidates)) == (True, '', 3)
    for fields, reason in (({}, 'has no image'), ({'image': tiny()}, 'cannot be decoded')):
        refused = call(QueryImage, 'query_image', **fields)
        assert not refused.success
        assert reason in refused.message
        assert refused.match.status == PlaceMatch.STATUS_ERROR
        assert refused.match.pose.covariance[0] > 0


def tiny():
    message = image_message(1)
    message.data = b'\0'
    return message


@pytest.fixture
def map_threads(monkeypatch):
    """Stand-ins that load, save and merge; gives the threads they ran in."""

    def act(type_, responder, request):
        threads.append(threading.current_thread())
        if not request.map_url:
            raise MapError('no map there')
        return type_.Response(message=request.map_url)

    threads = []
    for name, type_ in (('load_map', LoadMap), ('save_map', SaveMap), ('merge_map', MergeMap)):
        monkeypatch.setattr(calls, name, partial(act, type_))
    return threads


@pytest.mark.parametrize(
    ('type_', 'name'), [(LoadMap, 'load_map'), (SaveMap, 'save_map'), (MergeMap, 'merge_map')]
)
def test_map_calls_run_in_the_worker(map_threads, robot, call, type_, name):
    good = call(type_, name, map_url='here')
    assert (good.result, good.message) == (type_.Response.SUCCESS, 'here')
    bad = call(type_, name)
    assert (bad.result, bad.message) == (type_.Response.UNDEFINED, 'no map there')
    assert map_threads == [robot.worker.thread] * 2


def test_a_behaviour_tree_is_answered_at_once_and_one_attempt_serves_all(robot, call):
    robot.worker.free.clear()
    for _ in range(3):
        call(Empty, REINITIALIZE)
    robot.worker.free.set()
    waiting_attempt(robot)
    robot.answer(match())
    eventually(lambda: robot.attempts.latest)
    assert robot.attempts.latest.ending is Ending.LOCALIZED
    call(Empty, REINITIALIZE)
    eventually(lambda: robot.responder.forgotten == 2)


def test_a_robot_that_is_not_found_after_one_that_was_is_one_line(robot, call, capfd):
    call(Empty, REINITIALIZE)
    waiting_attempt(robot)
    robot.answer(match())
    eventually(lambda: not robot.attempts.running)
    call(Empty, REINITIALIZE)
    eventually(lambda: robot.attempts.latest.ending is Ending.TIMED_OUT)
    eventually(lambda: not robot.calls._reinitializing)
    told = capfd.readouterr().err
    assert 'not localised within' in told and 'Traceback' not in told


def test_a_goal_succeeds_with_feedback_before(robot, goals):
    handle, future = goals.send(max_duration_s=10.0)
    assert handle.accepted
    waiting_attempt(robot)
    robot.answer(match(PlaceMatch.STATUS_TEMPORAL_PENDING, 0.7))
    eventually(lambda: goals.feedback)
    robot.answer(*[match(PlaceMatch.STATUS_LOW_SIMILARITY, 0.2) for _ in range(5)])
    eventually(lambda: len(goals.feedback) == 2)
    robot.answer(match(posed=False))
    status, result = ended(future)
    assert (status, result.status) == (GoalStatus.STATUS_SUCCEEDED, Ending.LOCALIZED)
    assert (result.queries, result.pose_valid) == (7, False)
    assert [(x.queries, round(x.best.candidates[0].similarity, 3)) for x in goals.feedback] == [
        (1, 0.7),
        (6, 0.7),
    ]
    assert goals.feedback[1].elapsed_s - goals.feedback[0].elapsed_s >= 0.2
    require_whole(result)


def test_a_goal_that_times_out_is_aborted(robot, goals):
    _, future = goals.send()  # as long as the parameter says
    status, result = ended(future)
    assert (status, result.status) == (GoalStatus.STATUS_ABORTED, Ending.TIMED_OUT)
    assert 'within 0.3 s: no image was answered' in result.message
    assert result.match.status == PlaceMatch.STATUS_ERROR
    require_whole(result)


def test_a_goal_without_sense_is_aborted(robot, goals):
    status, result = ended(goals.send(min_probability=2.0)[1])
    assert (status, result.status) == (GoalStatus.STATUS_ABORTED, Ending.ABORTED)
    assert 'min_probability is 2' in result.message
    require_whole(result)


def test_a_goal_is_canceled_and_another_runs_on(robot, goals):
    first, gone = goals.send(max_duration_s=10.0)
    _, stays = goals.send(max_duration_s=10.0, min_consistent=1)
    waiting_attempt(robot, 2)
    robot.answer(match(PlaceMatch.STATUS_AMBIGUOUS))
    eventually(first.cancel_goal_async().done)
    status, result = ended(gone)
    assert (status, result.status) == (GoalStatus.STATUS_CANCELED, Ending.CANCELED)
    assert result.message == 'canceled; 1 image looked at (1 ambiguous)'
    assert (result.pose_valid, result.match.status_text) == (False, 'why')
    require_whole(result)
    assert not stays.done()
    sure = match()
    sure.consistent_frames = 1
    robot.answer(match(), sure)
    assert ended(stays)[0] == GoalStatus.STATUS_SUCCEEDED
    assert ended(stays)[1].pose_valid


def test_nobody_is_left_waiting_when_the_node_is_shut_down(robot, call, goals):
    _, goal = goals.send(max_duration_s=100.0)
    trigger = call.later(Trigger, 'trigger_localization')
    waiting_attempt(robot, 2)
    robot.worker.free.clear()
    reset = call.later(Trigger, 'reset')
    eventually(lambda: robot.calls._waiting.count == 3)
    robot.shut_down()
    status, result = ended(goal)
    assert (status, result.status) == (GoalStatus.STATUS_ABORTED, Ending.ABORTED)
    assert result.message.startswith('the node was deactivated meanwhile')
    require_whole(result)
    eventually(trigger.done)
    assert 'deactivated' in trigger.result().message
    assert not reset.done()
    assert services_of(robot)
    robot.worker.free.set()
    eventually(reset.done)
    assert reset.result().success
    eventually(lambda: not services_of(robot))


def test_a_goal_alone_has_its_result_before_the_action_goes(robot, goals):
    _, goal = goals.send(max_duration_s=100.0)
    waiting_attempt(robot)
    robot.shut_down()
    status, result = ended(goal)
    assert (status, result.status) == (GoalStatus.STATUS_ABORTED, Ending.ABORTED)
    eventually(lambda: not services_of(robot))


def test_a_node_that_is_not_active_says_so(robot, call, goals):
    robot.active = False
    sentence = 'the node is not active: activate it first'
    for type_, name in (
        (Trigger, 'trigger_localization'), (Trigger, 'reset'), (QueryImage, 'query_image'),
    ):  # fmt: skip
        answer = call(type_, name)
        assert (answer.success, answer.message) == (False, sentence)
    answer = call(LoadMap, 'load_map', map_url='x')
    assert (answer.result, answer.message) == (LoadMap.Response.UNDEFINED, sentence)
    call(Empty, REINITIALIZE)
    status, result = ended(goals.send()[1])
    assert (status, result.status) == (GoalStatus.STATUS_ABORTED, Ending.NOT_ACTIVE)
    assert result.message == sentence
    require_whole(result)
    assert robot.responder.forgotten == 0


def test_a_deactivation_that_nobody_announces_is_noticed(robot, call):
    future = call.later(Trigger, 'trigger_localization')
    waiting_attempt(robot)
    robot.active = False
    eventually(future.done)
    assert 'deactivated meanwhile' in future.result().message


def test_what_the_worker_refuses_or_fails_at_is_told(robot, call, monkeypatch):
    def broken():
        raise ZeroDivisionError('oops')

    monkeypatch.setattr(robot.responder, 'reset', broken)
    answer = call(Trigger, 'reset')
    assert not answer.success
    assert "ZeroDivisionError('oops')" in answer.message
    robot.worker.refusing = True
    answer = call(Trigger, 'trigger_localization')
    assert not answer.success
    assert answer.message.startswith('cannot search: the worker has ended')
    assert robot.attempts.running == 0


def test_clients_that_go_away_hurt_nobody(robot, call, leaving):
    node, leave = leaving
    asking = node.create_client(Trigger, robot.name('trigger_localization'))
    assert asking.wait_for_service(10.0)
    asking.call_async(Trigger.Request())
    goals = Goals(robot, node)
    goals.send(max_duration_s=0.3)
    waiting_attempt(robot, 2)
    goals.client.destroy()
    leave()
    eventually(lambda: robot.attempts.running == 0)
    assert call(Trigger, 'reset').success


def test_who_waits_costs_nothing(robot, call, monkeypatch):
    """What waits is resumed when the executor wakes, and does not keep it awake."""
    polls = []
    outcome = Attempt.outcome
    monkeypatch.setattr(Attempt, 'outcome', lambda x: polls.append(x) or outcome(x))
    assert 'not localised' in call(Trigger, 'trigger_localization').message
    assert 2 < len(polls) < 30  # in 0.3 s
