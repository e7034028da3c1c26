"""What a setting is, and how a table of them is read and checked."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from vpr_ros.errors import ConfigError

T = TypeVar('T')

STRINGS = tuple[str, ...]


@dataclass(frozen=True)
class Option:
    """Help and limits of one setting; `low` and `high` are inclusive.

    A `live` setting may change while a node runs; others are read when it is configured.
    """

    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False


def option(
    default: Any,
    help: str,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    live: bool = False,
) -> Any:
    """Declare a field of a settings dataclass."""
    return field(default=default, metadata={'option': Option(help, low, high, choices, live)})


def section(cls: type[T], live: bool = False) -> T:
    """Declare a table of settings within another; `live` holds for everything in it."""
    return field(default_factory=cls, metadata={'option': Option('', live=live)})


def load(cls: type[T], path: Path | str) -> T:
    """Read a YAML file into a settings dataclass.

    Raises:
        ConfigError: no such file, not YAML, or a key or value that does not belong.
    """
    try:
        data = yaml.safe_load(Path(path).read_text(encoding='utf-8'))
    except OSError as error:
        raise ConfigError(f'cannot read settings {path}: {error.strerror}') from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f'{path} is not valid YAML: {str(error).splitlines()[0]}') from None
    return from_dict(cls, data or {}, str(path))


def from_dict(cls: type[T], data: Any, where: str = '') -> T:
    """Build a settings dataclass from nested dictionaries; missing keys keep their defaults.

    Raises:
        ConfigError: an unknown key, a value of another type, or one out of range.
    """
    if not isinstance(data, dict):
        raise ConfigError(f'{where or cls.__name__}: expected a table of settings, found {data!r}')
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    types = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for key, value in data.items():
        label = f'{where}: {key}' if where else str(key)
        if key not in fields:
            raise ConfigError(f'{label}: no such setting; known are {", ".join(fields)}')
        if dataclasses.is_dataclass(types[key]):
            values[key] = from_dict(typing.cast(type, types[key]), value, label)
        else:
            values[key] = checked(fields[key], types[key], value, label)
    return cls(**values)


def walk(cls: type, prefix: str = '') -> Iterator[tuple[str, dataclasses.Field, type]]:
    """Every setting of a dataclass and of those nested in it: dotted name, field, type."""
    types = typing.get_type_hints(cls)
    for field_ in dataclasses.fields(cls):
        name, type_ = prefix + field_.name, types[field_.name]
        if dataclasses.is_dataclass(type_):
            yield from walk(typing.cast(type, type_), name + '.')
        else:
            yield name, field_, type_


def live_names(cls: type, prefix: str = '', live: bool = False) -> Iterator[str]:
    """Dotted names of the settings that may change while a node runs."""
    types = typing.get_type_hints(cls)
    for field_ in dataclasses.fields(cls):
        name, type_ = prefix + field_.name, types[field_.name]
        may = live or field_.metadata.get('option', Option('')).live
        if dataclasses.is_dataclass(type_):
            yield from live_names(typing.cast(type, type_), name + '.', may)
        elif may:
            yield name


def updated(config: T, values: dict[str, Any], where: str = '') -> T:
    """The same settings with others by their dotted names.

    Raises:
        ConfigError: an unknown name, a value of another type, or one out of range.
    """
    data = to_dict(config)
    for name, value in values.items():
        *tables, key = name.split('.')
        table: Any = data
        for part in tables:
            table = table.get(part)
            if not isinstance(table, dict):
                raise ConfigError(f'{name}: no such setting')
        table[key] = value
    return from_dict(type(config), data, where)


def to_dict(config: Any) -> dict[str, Any]:
    """Nested plain dictionaries of a settings dataclass; `from_dict` is the inverse."""
    return dataclasses.asdict(config)


def checked(field_: dataclasses.Field, type_: Any, value: Any, label: str) -> Any:
    """The value in the field's type, or a ConfigError that names the field and its limits."""
    if type_ == STRINGS:
        return _strings(value, label)
    if type_ is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not type_:
        raise ConfigError(f'{label}: expected a value of type {type_.__name__}, found {value!r}')
    limits = field_.metadata.get('option', Option(''))
    if limits.choices and value not in limits.choices:
        raise ConfigError(f'{label}: expected one of {", ".join(limits.choices)}, found {value!r}')
    if limits.low is not None and not value >= limits.low:
        raise ConfigError(f'{label}: expected at least {limits.low:g}, found {value!r}')
    if limits.high is not None and not value <= limits.high:
        raise ConfigError(f'{label}: expected at most {limits.high:g}, found {value!r}')
    return value


def _strings(value: Any, label: str) -> tuple[str, ...]:
    is_list = isinstance(value, (list, tuple))
    if not is_list or not value or not all(isinstance(x, str) for x in value):
        raise ConfigError(f'{label}: expected a list of names, found {value!r}')
    if len(set(value)) < len(value):
        raise ConfigError(f'{label}: expected every name once, found {value!r}')
    return tuple(value)
