"""docs/reference.md, and whatever the other pages call a parameter, are as the code is."""

import re
from pathlib import Path

import pytest
from rclpy.action import get_action_names_and_types
from rclpy.lifecycle import LifecycleNode
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from waiting import eventually

from tools.reference import channels
from tools.reference.interfaces import read_interface
from tools.reference.page import PAGE, page
from vpr_ros.config import NodeConfig, walk
from vpr_ros.nodes.inputs import transforms
from vpr_ros.nodes.outputs.messages import type_name

ROOT = Path(__file__).resolve().parents[2]
PAGES = ('concepts', 'robot', 'troubleshooting')
INPUTS = (
    {'depth': True, 'pose_input': 'odometry'},
    {'pose_input': 'pose_with_covariance'},
    {'image_transport': 'compressed', 'pose_input': 'pose'},
    {'depth': True, 'depth_transport': 'compressedDepth'},
    {'pose_input': 'tf'},
)
TF = {'/tf', '/tf_static'}


def test_the_reference_is_as_the_code_is():
    again = 'run `python -m tools.reference`'
    assert PAGE.read_text(encoding='utf-8') == page(), again


@pytest.fixture(scope='module')
def plain(context):
    """What every lifecycle node has."""
    node = LifecycleNode('plain', context=context)
    yield node
    node.destroy_node()


@pytest.fixture
def nodes(make_node):
    """The same node, active, with settings that together hear everything there is to be heard."""
    node = make_node(mode='map')

    def each():
        for settings in INPUTS:
            node.set_parameters([Parameter(name, value=value) for name, value in settings.items()])
            assert node.start()
            yield node
            node.trigger_deactivate()
            node.trigger_cleanup()

    return each


def own(node, plain, kind):
    """Topics or services of a node that are not those of every node, by relative names."""

    def names(entities):
        return {getattr(x, 'topic_name', None) or x.srv_name for x in entities}

    common = {name.replace('plain', 'place_recognition') for name in names(getattr(plain, kind))}
    return [x for x in getattr(node, kind) if not names([x]) & common]


def relative(name):
    return re.sub('^/place_recognition/', '~/', name)


def listed(channels):
    return {(x.name, x.type, x.qos) for x in channels}


def found(node, plain, kind):
    """Name, type and quality of service of every topic, as the reference has them."""
    known = {x.name for x in (*channels.HEARD, *channels.SAID)}
    topics = set()
    for x in own(node, plain, kind):
        name = relative(x.topic_name)
        name = name if name in known else name.removeprefix('/')
        topics.add((name, type_name(x.msg_type), words(x.qos_profile)))
    return topics


def words(profile):
    """Reliability, depth, and whether the last message is kept."""
    reliable = profile.reliability == ReliabilityPolicy.RELIABLE
    kept = profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
    parts = ('reliable' if reliable else 'best effort', str(profile.depth), 'kept' * kept)
    return ', '.join(filter(None, parts))


def test_the_listed_topics_are_those_of_a_real_node(nodes, plain):
    pytest.importorskip('bond')
    pytest.importorskip('tf2_msgs')
    heard, said = set(), set()
    for node in nodes():
        heard |= found(node, plain, 'subscriptions')
        said |= found(node, plain, 'publishers')
    expected = listed(channels.HEARD)
    if transforms.tf2_ros is not None:  # makes subscriptions of its own
        heard, expected = ({x for x in y if x[0] not in TF} for y in (heard, expected))
    assert heard == expected
    assert said == listed(channels.SAID)


def test_the_listed_services_are_those_of_a_real_node(nodes, plain, spin):
    node = next(nodes())
    offered = {(relative(x.srv_name), srv_name(x.srv_type)) for x in own(node, plain, 'services')}
    assert {(name.removeprefix('/'), type_) for name, type_ in offered} == {
        (x.name, x.type) for x in channels.SERVED
    }
    spin(node)
    # Of all nodes: by the name of one, another of that name which is going could be asked.
    actions = eventually(lambda: get_action_names_and_types(node))
    assert [(relative(name), types) for name, types in actions] == [
        (channels.ACTION.name, [channels.ACTION.type])
    ]


def srv_name(type_):
    return f'{type_.__module__.partition(".")[0]}/srv/{type_.__name__}'


# What looks like a parameter: a name with a table or a unit, alone or with a value, in backticks;
# and whatever `ros2 param` is told.
PARAMETERS = {name for name, _, _ in walk(NodeConfig)}
TABLES = {name.partition('.')[0] for name in PARAMETERS if '.' in name}
UNIT = re.compile(r'\w+_(s|m|rad|px|rate|frame|frames|input|transport|descriptor)')
QUOTED = re.compile(r'`([a-z]\w*(?:\.\w+)*)(?:: [^`\n]*)?`')
COMMANDED = re.compile(r'ros2 param (?:get|set|describe) \S+ (\S+)')


def parameters_in(text):
    """Names that can only be meant as parameters."""
    for name in QUOTED.findall(text):
        table, dot, _ = name.partition('.')
        if (dot and table in TABLES) or (not dot and UNIT.fullmatch(name)):
            yield name
    yield from COMMANDED.findall(text)


@pytest.mark.parametrize('page', PAGES)
def test_every_parameter_that_a_page_names_is_there(page):
    text = (ROOT / f'docs/{page}.md').read_text(encoding='utf-8')
    named = set(parameters_in(text))
    assert named
    assert not named - PARAMETERS - set(fields_of_interfaces())


def fields_of_interfaces():
    for kind in ('msg', 'srv', 'action'):
        for path in (ROOT / 'vpr_msgs' / kind).glob(f'*.{kind}'):
            _, parts = read_interface(path.read_text(encoding='utf-8'))
            for part in parts:
                yield from (name for _, name, _ in part.rows)


def test_a_parameter_that_is_not_there_is_caught():
    text = '`decision.nonsense`, `decision.consistent_frames: 3`, `gap_s`\n ros2 param get /a b'
    assert list(parameters_in(text)) == [
        'decision.nonsense', 'decision.consistent_frames', 'gap_s', 'b',
    ]  # fmt: skip
    assert not list(parameters_in('decision.py, `~/place_match`, `vpr map info`, `/camera/x_m`'))
