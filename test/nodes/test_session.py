"""A node in the background: however unluckily the threads fall, it ends."""

import time

from rclpy.executors import Executor
from std_msgs.msg import String
from waiting import eventually

from vpr_ros.nodes.session import spinning_node


def test_it_hears_until_it_is_left():
    heard = []
    with spinning_node('speaker') as speaker, spinning_node('listener') as listener:
        listener.create_subscription(String, '/spoken', heard.append, 10)
        publisher = speaker.create_publisher(String, '/spoken', 10)
        eventually(lambda: publisher.get_subscription_count() == 1)
        publisher.publish(String(data='here'))
        eventually(lambda: heard)
    assert heard[0].data == 'here'


def test_it_ends_also_when_left_just_before_it_waits(monkeypatch):
    nodes = Executor.get_nodes

    def late(self):
        found = nodes(self)
        time.sleep(0.2)  # between gathering what to wait for and the wait
        return found

    monkeypatch.setattr(Executor, 'get_nodes', late)
    began = time.monotonic()
    for _ in range(3):
        with spinning_node('listener'):
            time.sleep(0.3)
    assert time.monotonic() - began < 30
