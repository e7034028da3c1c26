"""A manager as strict as nav2's: services by the node's name, and a bond to every active node."""

import time
import uuid

from bond.msg import Constants, Status
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.clock import Clock, ClockType
from rclpy.qos import QoSProfile

WAITING, ALIVE, AWAIT_SISTER_DEATH, DEAD = 'waiting', 'alive', 'await sister death', 'dead'
BECOMES = {
    Transition.TRANSITION_CONFIGURE: State.PRIMARY_STATE_INACTIVE,
    Transition.TRANSITION_CLEANUP: State.PRIMARY_STATE_UNCONFIGURED,
    Transition.TRANSITION_ACTIVATE: State.PRIMARY_STATE_ACTIVE,
    Transition.TRANSITION_DEACTIVATE: State.PRIMARY_STATE_INACTIVE,
    Transition.TRANSITION_UNCONFIGURED_SHUTDOWN: State.PRIMARY_STATE_FINALIZED,
}
SERVICE_TIMEOUT_S = 5.0
FORMED_S = 2.0  # half of the default of bond_timeout


class ManagerBond:
    """The manager's end: the state machine of bond_core, with wall time throughout."""

    def __init__(self, node, id_, timeout_s=4.0, period_s=0.25):
        self.state, self.sister, self.log = WAITING, '', []
        self.active_heard = 0
        self._node, self._id, self._timeout_s = node, id_, timeout_s
        self._instance = str(uuid.uuid4())
        self._heard_s = self._started_s = time.monotonic()
        self._publisher = node.create_publisher(Status, 'bond', QoSProfile(depth=5))
        self._subscription = node.create_subscription(
            Status, 'bond', self._hear, QoSProfile(depth=100)
        )
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(period_s, self._beat, clock=clock)
        self._watch = node.create_timer(0.02, self._look, clock=clock)

    def wait_until_formed(self):
        """As long as the manager waits."""
        return _within(FORMED_S, lambda: self.state != WAITING)

    def break_(self):
        """What the manager does when it lets go of its end; tells whether the other answered."""
        if self.state in (WAITING, DEAD):
            self.state = DEAD
        else:
            self.state = AWAIT_SISTER_DEATH
        self._say(False)
        return _within(1.0, lambda: self.state == DEAD)

    def close(self):
        for timer in (self._timer, self._watch):
            self._node.destroy_timer(timer)
        self._node.destroy_subscription(self._subscription)
        self._node.destroy_publisher(self._publisher)

    def _hear(self, status):
        if status.id != self._id or status.instance_id == self._instance:
            return
        self.log.append(status)
        self.sister = self.sister or status.instance_id
        assert status.instance_id == self.sister, 'a third end of the bond'
        if status.active:
            self._heard_s = time.monotonic()
            self.active_heard += 1
            self.state = ALIVE if self.state == WAITING else self.state
        elif self.state != DEAD:
            first = self.state != AWAIT_SISTER_DEATH
            self.state = DEAD
            if first:
                self._say(False)

    def _look(self):
        now_s = time.monotonic()
        if self.state == ALIVE and now_s - self._heard_s > self._timeout_s:
            self.state = DEAD
        if self.state == WAITING and now_s - self._started_s > Constants.DEFAULT_CONNECT_TIMEOUT:
            self.state = DEAD

    def _beat(self):
        if self.state in (WAITING, ALIVE):
            self._say(True)

    def _say(self, active):
        self._publisher.publish(
            Status(id=self._id, instance_id=self._instance, active=active,
                   heartbeat_timeout=self._timeout_s, heartbeat_period=0.25)
        )  # fmt: skip


class Manager:
    """Brings one node up and down; its own node has to spin."""

    def __init__(self, node, name, bond_timeout_s=4.0):
        self.bond = None
        self._node, self._name, self._bond_timeout_s = node, name, bond_timeout_s
        self._change = node.create_client(ChangeState, f'{name}/change_state')
        self._get = node.create_client(GetState, f'{name}/get_state')

    def change(self, transition):
        """Raises where the node refuses, or is not in the state that has to follow."""
        request = ChangeState.Request(transition=Transition(id=transition))
        assert self._call(self._change, request).success, f'transition {transition} was refused'
        state = self._call(self._get, GetState.Request()).current_state.id
        assert state == BECOMES[transition], f'state {state} after transition {transition}'
        if transition == Transition.TRANSITION_ACTIVATE:
            self.bond = ManagerBond(self._node, self._name, self._bond_timeout_s)
            assert self.bond.wait_until_formed(), 'the node was unable to be reached by bond'
        elif transition == Transition.TRANSITION_DEACTIVATE:
            self.let_go()

    def startup(self):
        self.change(Transition.TRANSITION_CONFIGURE)
        self.change(Transition.TRANSITION_ACTIVATE)

    def shutdown(self):
        self.change(Transition.TRANSITION_DEACTIVATE)
        self.change(Transition.TRANSITION_CLEANUP)
        self.change(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)

    def let_go(self):
        if self.bond:
            self.bond.break_()
            self.bond.close()

    def _call(self, client, request):
        assert client.wait_for_service(SERVICE_TIMEOUT_S), f'{client.srv_name} is not available'
        answer = client.call_async(request)
        assert _within(30.0, answer.done), f'{client.srv_name} did not answer'
        return answer.result()


def _within(seconds, condition):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
