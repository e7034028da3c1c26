"""Messages, services and actions as their files have them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools.reference.markdown import table


@dataclass
class Part:
    """A message, or a part of a service or an action, as its file has it."""

    rows: list[tuple[str, str, str]] = field(default_factory=list)  # type, name, meaning
    values: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)  # of a field


LINE = re.compile(r'([\w/\[\]]+)\s+(\w+)\s*(?:=\s*(\S+))?\s*(?:#\s*(.*))?')


def read_interface(text: str) -> tuple[str, list[Part]]:
    """What an interface file says of itself first, and its parts."""
    opening, _, rest = text.partition('\n\n') if text.startswith('#') else ('', '', text)
    about = [x for x in opening.splitlines() if x.startswith('#')]
    first = [x for x in opening.splitlines() if not x.startswith('#')]
    parts, constants = [Part()], []
    for line in (*first, *rest.splitlines()):
        if line == '---':
            parts.append(Part())
        elif found := LINE.fullmatch(line):
            type_, name, value, told = found.groups(default='')
            told = told.replace('one of the above', 'one of those below')
            if value:
                constants.append((value, name, told))
                continue
            parts[-1].rows.append((type_, name, told))
            if constants:
                parts[-1].values[name], constants = constants, []
        elif line and not line.startswith('#'):
            raise ValueError(f'this line of an interface file is not understood: {line}')
    return ' '.join(x.lstrip('# ') for x in about), parts


def interface(name: str, path: Path, titles: Sequence[str]) -> Iterator[str]:
    about, parts = read_interface(path.read_text(encoding='utf-8'))
    yield f'### {name}\n'
    yield f'{about}\n'
    for title, part in zip(titles, parts, strict=True):
        if title:
            yield f'**{title}**\n'
        rows = [(f'`{name}`', type_, meaning) for type_, name, meaning in part.rows]
        yield from table(('field', 'type', 'what'), rows)
        for owner, constants in part.values.items():
            yield f'Values of `{owner}`:\n'
            rows = [(value, f'`{name}`', meaning) for value, name, meaning in constants]
            yield from table(('', 'name', 'when'), rows)
