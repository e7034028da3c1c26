"""nav2's lifecycle manager has its way with the node: its services, its order, its bond."""

from contextlib import ExitStack

import pytest
import rclpy
from lifecycle_msgs.msg import Transition
from managing import ALIVE, DEAD, Manager
from waiting import eventually

from vpr_ros.nodes.recognition_node import NODE_NAME
from vpr_ros.nodes.session import spinning


@pytest.fixture
def manager(context):
    """Its node spins until the test ends."""
    with ExitStack() as stack:
        node = rclpy.create_node('lifecycle_manager', context=context)
        stack.callback(node.destroy_node)
        stack.enter_context(spinning(context, node))
        made = Manager(node, NODE_NAME, bond_timeout_s=1.0)
        yield made


def test_up_paused_resumed_and_down(make_node, manager, spin):
    node = make_node(mode='map')
    spin(node)
    manager.startup()
    assert manager.bond.state == ALIVE
    manager.change(Transition.TRANSITION_DEACTIVATE)
    assert manager.bond.state == DEAD
    assert not manager.bond.log[-1].active  # the node said so itself
    manager.change(Transition.TRANSITION_ACTIVATE)
    assert manager.bond.state == ALIVE
    manager.shutdown()
    assert manager.bond.state == DEAD


def test_the_manager_sees_a_node_that_hangs_and_one_that_goes(context, make_node, manager):
    node = make_node(mode='map')
    with spinning(context, node):
        manager.startup()
    eventually(lambda: manager.bond.state == DEAD)
    assert manager.bond.log[-1].active
    with spinning(context, node):  # as the manager does then
        manager.change(Transition.TRANSITION_DEACTIVATE)
        manager.change(Transition.TRANSITION_CLEANUP)
        manager.startup()
        assert manager.bond.state == ALIVE
    node.end()
    eventually(lambda: manager.bond.state == DEAD)
    assert not manager.bond.log[-1].active


def test_a_refusal_reaches_the_manager(make_node, manager, spin, capfd):
    node = make_node(mode='map', map_frame='')
    spin(node)
    with pytest.raises(AssertionError, match='transition 1 was refused'):
        manager.startup()
    assert 'parameter map_frame is empty' in capfd.readouterr().err
