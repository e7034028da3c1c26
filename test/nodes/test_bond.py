"""Our end of a bond, against the manager's: formed, kept, broken, and absent without a word."""

from contextlib import ExitStack

import pytest
import rclpy
from bond.msg import Status
from managing import ALIVE, DEAD, ManagerBond
from rclpy.parameter import Parameter
from waiting import eventually

from vpr_ros.nodes import bond
from vpr_ros.nodes.bond import Bond
from vpr_ros.nodes.session import spinning


@pytest.fixture
def node(context):
    """With simulated time that stands still."""
    node = rclpy.create_node(
        'bonded', context=context, namespace='robot',
        parameter_overrides=[Parameter('use_sim_time', value=True)],
    )  # fmt: skip
    yield node
    node.destroy_node()


@pytest.fixture
def manager(context):
    node = rclpy.create_node('manager', context=context, namespace='robot')
    yield node
    node.destroy_node()


@pytest.fixture
def ours(node):
    made = Bond(node)
    yield made
    made.stop()


def test_it_is_formed_kept_and_broken(node, manager, ours, spin):
    theirs = ManagerBond(manager, 'bonded', timeout_s=1.0)
    spin(node, manager)
    assert not ours.formed
    ours.start()
    ours.start()  # once is enough
    eventually(lambda: theirs.state == ALIVE and ours.formed)
    eventually(lambda: theirs.active_heard > 12)  # longer than the manager's patience
    assert theirs.state == ALIVE
    beat = theirs.log[-1]
    assert (beat.id, beat.active) == ('bonded', True)
    assert beat.heartbeat_period == pytest.approx(0.1)
    assert beat.heartbeat_timeout == 4.0
    ours.stop()
    eventually(lambda: theirs.state == DEAD)
    assert not theirs.log[-1].active
    assert not ours.formed
    theirs.close()


def test_every_activation_is_another_end(node, manager, ours, spin):
    spin(node, manager)
    sisters = set()
    for _ in range(2):
        theirs = ManagerBond(manager, 'bonded')
        ours.start()
        eventually(lambda theirs=theirs: theirs.state == ALIVE)
        sisters.add(theirs.sister)
        ours.stop()
        eventually(lambda theirs=theirs: theirs.state == DEAD)
        theirs.close()
    assert len(sisters) == 2


def test_a_node_that_does_nothing_any_more_loses_its_bond(context, node, manager, ours, spin):
    theirs = ManagerBond(manager, 'bonded', timeout_s=0.5)
    spin(manager)
    with spinning(context, node):
        ours.start()
        eventually(lambda: theirs.state == ALIVE)
    eventually(lambda: theirs.state == DEAD)
    assert all(status.active for status in theirs.log)
    theirs.close()


def test_a_manager_that_lets_go_is_answered_and_no_longer_told(node, manager, ours, spin):
    theirs = ManagerBond(manager, 'bonded')
    spin(node, manager)
    ours.start()
    eventually(lambda: theirs.state == ALIVE and ours.formed)
    assert theirs.break_()
    assert not theirs.log[-1].active
    eventually(lambda: not ours.formed)
    theirs.close()


def test_a_third_one_is_named(node, manager, ours, spin, capfd):
    theirs = ManagerBond(manager, 'bonded')
    spin(node, manager)
    ours.start()
    eventually(lambda: theirs.state == ALIVE and ours.formed)
    ours._heard(Status(id='bonded', instance_id='another', active=False))
    ours._heard(Status(id='another', instance_id='another', active=False))
    assert ours.formed
    assert 'a third one wants the bond bonded' in capfd.readouterr().err
    theirs.close()


def test_where_nobody_manages_the_node_it_falls_silent(node, ours, spin, monkeypatch):
    monkeypatch.setattr(bond, 'CONNECT_S', 0.25)
    spin(node)
    ours.start()
    timer = ours._timer
    eventually(lambda: timer not in list(node.timers))


def test_without_the_package_nothing_happens(node, ours, monkeypatch):
    monkeypatch.setattr(bond, 'Status', None)
    topics = {x.topic_name for x in node.publishers}
    with ExitStack() as stack:
        ours.start()
        stack.callback(ours.stop)
        assert {x.topic_name for x in node.publishers} == topics
    assert not ours.formed
