"""A map from a recording as a ROS executable: parameters in, diagnostics and a map out."""

import signal
import subprocess
import sys
import threading

import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from pictures import image_message, odometry_message, write_messages
from rclpy.parameter import Parameter
from waiting import WAIT_S, eventually

from vpr_ros.config.executables import MapBuilderConfig
from vpr_ros.errors import BagError, ConfigError, MapError, RosError
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.nodes.map_builder_node import MapBuilder, ordered

IMAGES = 1000  # the process is under way for seconds
MODEL = {'name': 'sage_test', 'device': 'cpu'}


@pytest.fixture(scope='module')
def drive(tmp_path_factory):
    """Five pictures, ten metres apart."""
    messages = []
    for k in range(5):
        messages.append(('/odom', odometry_message(10.0 * k, k), k))
        messages.append(('/camera/image_raw', image_message(k, k), k))
    return write_messages(tmp_path_factory.mktemp('bag') / 'monday', messages)


@pytest.fixture
def make(context, weights):
    """A builder with settings by their dotted names."""
    made = []

    def builder(stop=None, **settings):
        given = {'model.name': 'sage_test', 'model.weights': str(weights), **settings}
        overrides = [Parameter(name, value=str(value)) for name, value in given.items()]
        made.append(
            MapBuilder(stop or threading.Event(), context=context, parameter_overrides=overrides)
        )
        return made[-1]

    yield builder
    for node in made:
        node.destroy_node()


@pytest.fixture
def heard(context, spin):
    """Every status on /diagnostics while the test runs."""
    from rclpy.node import Node

    statuses = []
    node = Node('listener', context=context)
    node.create_subscription(
        DiagnosticArray, '/diagnostics', lambda x: statuses.extend(x.status), 10
    )
    spin(node)
    yield statuses
    node.destroy_node()


def test_it_builds_and_tells_of_it(make, spin, drive, tmp_path, heard):
    path = tmp_path / 'office.vprmap'
    node = make(bag=drive, map=path)
    spin(node)
    eventually(lambda: node.count_subscribers('/diagnostics'))
    node.carry_out()
    node.linger()
    with PlaceMap.open(path, fingerprint=None) as place_map:
        assert [place.pose.position_m[0] for place in place_map.places] == [0, 10, 20, 30, 40]
    eventually(lambda: heard and heard[-1].message.startswith('wrote '))
    assert heard[-1].level == DiagnosticStatus.OK
    assert heard[-1].name == 'map_builder: progress'
    assert '5 places from 5 images, 5 with a pose' in heard[-1].message
    assert {x.key: x.value for x in heard[-1].values}['done'] == '5'


def test_interrupted_it_leaves_nothing(make, drive, tmp_path):
    stop = threading.Event()
    stop.set()
    node = make(stop, bag=drive, map=tmp_path / 'office.vprmap')
    with pytest.raises(RosError, match='interrupted while reading images'):
        node.carry_out()
    assert not list(tmp_path.iterdir())


def test_what_is_wrong_is_an_error_in_the_diagnostics(make, spin, drive, tmp_path, heard):
    path = tmp_path / 'there.vprmap'
    path.touch()
    node = make(bag=drive, map=path)
    spin(node)
    eventually(lambda: node.count_subscribers('/diagnostics'))
    with pytest.raises(MapError, match='exists already'):
        node.carry_out()
    node.linger()
    eventually(lambda: heard and heard[-1].level == DiagnosticStatus.ERROR)
    assert 'exists already' in heard[-1].message
    with pytest.raises(BagError, match='nowhere'):
        make(bag='nowhere', map=tmp_path / 'new.vprmap').carry_out()


def test_poses_of_another_frame_can_be_asked_for(make, drive, tmp_path):
    """Odometry of `odom` alone: what is asked for is looked for, not what is there taken."""
    path = tmp_path / 'new.vprmap'
    with pytest.raises(BagError, match='gnss'):
        make(bag=drive, map=path, pose_frame='gnss').carry_out()
    assert not path.exists()
    make(bag=drive, map=path, pose_frame='odom').carry_out()
    assert path.exists()


def test_an_order_needs_a_recording_and_a_map():
    with pytest.raises(ConfigError, match='bag is empty'):
        ordered(MapBuilderConfig(map='a.vprmap'))
    with pytest.raises(ConfigError, match="expected a .vprmap file, found 'a'"):
        ordered(MapBuilderConfig(bag='b', map='a'))


def start(folder, name, **settings):
    """The executable with a parameter file, as launch starts it."""
    path = folder / f'{name}.yaml'
    path.write_text(yaml.safe_dump({'/**': {'ros__parameters': settings}}))
    return subprocess.Popen(
        [sys.executable, '-m', 'vpr_ros.nodes.map_builder', '--ros-args', '--params-file', path],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_exit_codes_and_sigint(drive, tmp_path, weights):
    long = write_messages(
        tmp_path / 'long', (('/image', image_message(0, k), k) for k in range(IMAGES))
    )
    model = {**MODEL, 'weights': str(weights)}
    path, half = tmp_path / 'whole.vprmap', tmp_path / 'half.vprmap'
    running = {
        'whole': start(tmp_path, 'whole', bag=str(drive), map=str(path), model=model),
        'wrong': start(tmp_path, 'wrong', bag=str(drive), model=model),
        'interrupted': start(tmp_path, 'long', bag=str(long), map=str(half), model=model),
    }
    eventually(lambda: half.with_name('half.vprmap.part').exists())
    running['interrupted'].send_signal(signal.SIGINT)
    told = {name: process.communicate(timeout=WAIT_S)[1] for name, process in running.items()}
    codes = {name: process.returncode for name, process in running.items()}
    assert codes == {'whole': 0, 'wrong': 2, 'interrupted': 1}, told
    assert 'interrupted while reading images' in told['interrupted']
    assert "expected a .vprmap file, found ''" in told['wrong']
    assert 'Traceback' not in ''.join(told.values())
    assert sorted(x.name for x in tmp_path.glob('*.vprmap*')) == ['whole.vprmap']
