"""A settings dataclass as the parameters of a node."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, Generic, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from vpr_ros.config import Option, checked, live_names, updated, walk
from vpr_ros.errors import ConfigError, VprError

T = TypeVar('T')

RANGES = {
    int: ('integer_range', IntegerRange),
    float: ('floating_point_range', FloatingPointRange),
}
UNLIMITED = {int: 2**63 - 1, float: 1e308}
QOS_OVERRIDES = 'qos_overrides.'  # declared by rclpy, when a subscription is made


class Parameters(Generic[T]):
    """Declare every setting of a dataclass, nesting as dots, and read them back checked.

    What was given to the node and does not fit is remembered and refused by `read`, not when the
    node is constructed: a node that is there can say what is wrong and be given another value.
    While `locked`, only live settings may change, and a whole file may be loaded again: `accept`
    is asked with the settings as they would be, and refuses them with a VprError; `changed` is
    told of those that are in force.
    """

    def __init__(self, node: Node, cls: type[T]) -> None:
        self.locked = False
        self.accept: Callable[[T], None] = lambda settings: None
        self.changed: Callable[[T], None] = lambda settings: None
        self._node = node
        self._cls = cls
        self._live = set(live_names(cls))
        self._settings = {name: (field_, type_) for name, field_, type_ in walk(cls)}
        # rclpy has no public way to ask for the values that were given.
        self._given: dict[str, Parameter] = node._parameter_overrides
        self._refused: dict[str, str] = {}
        for name in self._settings:
            self._declare(name)
        node.add_on_set_parameters_callback(self._check)
        node.add_post_set_parameters_callback(self._in_force)

    def read(self) -> T:
        """The settings as they are now.

        Raises:
            ConfigError: a value does not fit, or a parameter was given that there is not.
        """
        for sentence in self._refused.values():
            raise ConfigError(f'parameter {sentence}')
        for name in self._given:
            if not self._node.has_parameter(name) and not name.startswith(QOS_OVERRIDES):
                raise ConfigError(
                    f'there is no parameter {name}{self._meant(name)}: correct it in the command '
                    'or the parameter file; docs/reference.md has them all'
                )
        values = {name: self._node.get_parameter(name).value for name in self._settings}
        return updated(self._cls(), values)

    def _meant(self, name: str) -> str:
        near = get_close_matches(name, self._settings, n=1, cutoff=0.5)
        return f', perhaps {near[0]} was meant' if near else ''

    def _declare(self, name: str) -> None:
        field_, type_ = self._settings[name]
        value = field_.default
        if name in self._given:
            try:
                value = checked(field_, type_, self._given[name].value, name)
            except ConfigError as error:
                self._refused[name] = str(error)
        self._node.declare_parameter(
            name, value, describe(field_.metadata['option'], type_, name in self._live),
            ignore_override=True,
        )  # fmt: skip

    def _check(self, parameters: list[Parameter]) -> SetParametersResult:
        ours = [x for x in parameters if x.name in self._settings]
        try:
            values = {x.name: self._checked(x) for x in ours}
            if self.locked and values:
                self.accept(updated(self.read(), values))
        except VprError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _checked(self, parameter: Parameter) -> Any:
        name = parameter.name
        value = checked(*self._settings[name], parameter.value, name)
        if self.locked and name not in self._live and value != self._present(name):
            raise ConfigError(
                f'{name} is read when the node is configured: deactivate and clean it up first'
            )
        return value

    def _present(self, name: str) -> Any:
        return checked(*self._settings[name], self._node.get_parameter(name).value, name)

    def _in_force(self, parameters: list[Parameter]) -> None:
        for parameter in parameters:
            self._refused.pop(parameter.name, None)
        if self.locked and any(x.name in self._settings for x in parameters):
            self.changed(self.read())


def describe(option: Option, type_: type, live: bool = False) -> ParameterDescriptor:
    """Help, choices and range of a setting, as `ros2 param describe` shows them."""
    when = 'may change at run time' if live else 'read when the node is configured'
    descriptor = ParameterDescriptor(description=f'{option.help} ({when})')
    if option.choices:
        descriptor.additional_constraints = f'one of {", ".join(option.choices)}'
    if type_ in RANGES and (option.low is not None or option.high is not None):
        name, make = RANGES[type_]
        low = type_(-UNLIMITED[type_] if option.low is None else option.low)
        high = type_(UNLIMITED[type_] if option.high is None else option.high)
        setattr(descriptor, name, [make(from_value=low, to_value=high)])
    return descriptor
