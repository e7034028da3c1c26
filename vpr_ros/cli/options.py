"""Settings dataclasses as command-line options: `--search.top_k 5`."""

from __future__ import annotations

import argparse
from typing import Any, TypeVar

from vpr_ros import config as settings

T = TypeVar('T')

STAGES: dict[str, type] = {
    'search': settings.SearchConfig,
    'reranking': settings.RerankingConfig,
    'verification': settings.VerificationConfig,
    'temporal': settings.TemporalConfig,
    'decision': settings.DecisionConfig,
}


def add_settings(parser: argparse.ArgumentParser, **configs: type) -> None:
    """Declare every field of settings dataclasses as an option.

    Args:
        parser: receives one option a field, without a default: absent means not given.
        configs: dataclasses by the name that stands before the dot; `_` for none.
    """
    for prefix, cls in configs.items():
        about = (cls.__doc__ or '').splitlines()[0].rstrip('.')  # argparse adds a colon
        group = parser.add_argument_group(f'settings: {about}')
        for name, field, type_ in settings.walk(cls, '' if prefix == '_' else prefix + '.'):
            limits = field.metadata['option']
            group.add_argument(
                f'--{name}',
                dest=f'setting:{name}',
                type=PARSERS.get(type_, type_),
                choices=limits.choices or None,
                default=argparse.SUPPRESS,
                metavar=None if limits.choices else METAVARS.get(type_, type_.__name__.upper()),
                help=f'{limits.help} (default {_shown(field.default)})'.replace('%', '%%'),
            )


def read_settings(arguments: argparse.Namespace, prefix: str, base: T) -> T:
    """Settings given on the command line over those of `base`.

    Raises:
        ConfigError: a value out of range.
    """
    return settings.updated(base, given_settings(arguments, prefix))


def given_settings(arguments: argparse.Namespace, prefix: str) -> dict[str, Any]:
    """Settings given on the command line, by their dotted names."""
    start = 'setting:' if prefix == '_' else f'setting:{prefix}.'
    return {
        key.removeprefix(start): value
        for key, value in vars(arguments).items()
        if key.startswith(start)
    }


def _switch(text: str) -> bool:
    table = {'true': True, 'yes': True, '1': True, 'false': False, 'no': False, '0': False}
    try:
        return table[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f'expected true or false, found {text!r}') from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(','))


def _shown(default: Any) -> str:
    text = ','.join(default) if isinstance(default, tuple) else str(default)
    return text or 'empty'


PARSERS: dict[Any, Any] = {bool: _switch, settings.STRINGS: _names}
METAVARS: dict[Any, str] = {settings.STRINGS: 'NAME,NAME'}


def add_stages(parser: argparse.ArgumentParser) -> None:
    """Options of every stage of the front door."""
    add_settings(parser, **STAGES)


def read_stages(arguments: argparse.Namespace) -> settings.RecognizerConfig:
    """Settings of every stage of the front door from the command line."""
    return settings.RecognizerConfig(
        **{name: read_settings(arguments, name, cls()) for name, cls in STAGES.items()}
    )
