"""Settings as parameters: described, checked, and refused by a node that can say so."""

from dataclasses import dataclass, field

import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter

from vpr_ros.config import NodeConfig, option, walk
from vpr_ros.errors import ConfigError
from vpr_ros.nodes.parameters import Parameters


@dataclass(frozen=True)
class Inner:
    share: float = option(0.5, 'a share', 0.0, 1.0)


@dataclass(frozen=True)
class Outer:
    count: int = option(3, 'how many', 1)
    kind: str = option('raw', 'which kind', choices=('raw', 'cooked'))
    inner: Inner = field(default_factory=Inner)


@pytest.fixture
def declare(context):
    nodes = []

    def make(cls=Outer, **given):
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        nodes.append(Node('declares', context=context, parameter_overrides=overrides))
        return nodes[-1], Parameters(nodes[-1], cls)

    yield make
    for node in nodes:
        node.destroy_node()


def test_defaults_come_back_and_nesting_is_dots(declare):
    node, parameters = declare()
    assert parameters.read() == Outer()
    assert node.get_parameter('inner.share').value == 0.5


def test_every_setting_of_the_node_is_described(declare):
    node, parameters = declare(NodeConfig)
    assert parameters.read() == NodeConfig()
    for name, _, _ in walk(NodeConfig):
        assert node.describe_parameter(name).description


def test_ranges_and_choices_are_described(declare):
    node, _ = declare()
    count = node.describe_parameter('count').integer_range[0]
    assert (count.from_value, count.to_value) == (1, 2**63 - 1)
    share = node.describe_parameter('inner.share').floating_point_range[0]
    assert (share.from_value, share.to_value) == (0.0, 1.0)
    assert node.describe_parameter('kind').additional_constraints == 'one of raw, cooked'


def test_given_values_are_taken_and_integers_are_numbers(declare):
    _, parameters = declare(**{'count': 7, 'inner.share': 1, 'kind': 'cooked'})
    assert parameters.read() == Outer(7, 'cooked', Inner(1.0))


@pytest.mark.parametrize(
    ('name', 'bad', 'good', 'told'),
    [
        ('count', 0, 1, 'at least 1'),
        ('count', 'three', 3, 'of type int'),  # the default again
        ('inner.share', 2.0, 0.25, 'at most 1'),
        ('inner.share', float('nan'), 0.25, 'at least 0'),
        ('kind', 'burnt', 'cooked', 'one of raw, cooked'),
        ('kind', 7, 'cooked', 'of type str'),
    ],
)
def test_a_bad_value_is_refused_until_it_is_corrected(declare, name, bad, good, told):
    node, parameters = declare(**{name: bad})
    with pytest.raises(ConfigError, match=f'parameter {name}: .*{told}'):
        parameters.read()
    assert node.set_parameters([Parameter(name, value=good)])[0].successful
    parameters.read()
    assert node.get_parameter(name).value == good


@pytest.mark.parametrize(
    ('name', 'meant'),
    [
        ('cuont', ', perhaps count was meant'),
        ('inner.shares', ', perhaps inner.share'),
        ('x', ':'),
    ],
)
def test_an_unknown_parameter_is_refused(declare, name, meant):
    _, parameters = declare(**{name: 1})
    with pytest.raises(ConfigError, match=f'no parameter {name}{meant}'):
        parameters.read()


def test_what_rclpy_itself_declares_is_known(declare):
    _, parameters = declare(
        **{'use_sim_time': True, 'qos_overrides./image.subscription.reliability': 'reliable'}
    )
    assert parameters.read() == Outer()


@pytest.mark.parametrize(('name', 'value'), [('kind', 'burnt'), ('count', 0), ('count', 'x')])
def test_setting_a_bad_value_is_refused(declare, name, value):
    node, parameters = declare()
    result = node.set_parameters([Parameter(name, value=value)])[0]
    assert not result.successful and result.reason
    assert parameters.read() == Outer()


def test_a_parameter_that_would_not_be_read_cannot_be_set(declare):
    node, parameters = declare()
    parameters.locked = True
    result = node.set_parameters([Parameter('count', value=5)])[0]
    assert not result.successful and 'clean it up first' in result.reason
    parameters.locked = False
    assert node.set_parameters([Parameter('count', value=5)])[0].successful
