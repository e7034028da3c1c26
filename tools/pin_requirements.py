"""Pin every package, direct or not, for all supported Pythons: requirements/*.in to *.txt.

    python3 tools/pin_requirements.py python3.10 python3.11

The second interpreter's versions are used from its Python on, the first one's below. Newer
Pythons are checked with `pip install --dry-run --ignore-installed -r requirements/kilted.txt`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / 'requirements'
DISTROS = ('jazzy', 'kilted')
CUDA = ('cuda-', 'nvidia-', 'triton')  # torch pins these itself, where its build has them
HEADER = '# Written by tools/pin_requirements.py from setup.py and requirements/*.in\n'

Pins = dict[str, str]


def main(older: str, newer: str) -> None:
    limit = subprocess.check_output(
        [newer, '-c', 'import sys; print("%d.%d" % sys.version_info[:2])'], text=True
    ).strip()
    lines = {
        distro: merged(resolve(older, distro), resolve(newer, distro), limit) for distro in DISTROS
    }
    common = lines['jazzy'] & lines['kilted']
    write('common', common)
    for distro in DISTROS:
        write(distro, lines[distro] - common, '-r common.txt\n')


def resolve(python: str, distro: str) -> Pins:
    """What pip would install into an empty environment of this interpreter."""
    command = [python, '-m', 'pip', 'install', '-q', '--dry-run', '--ignore-installed']
    command += ['--report', '-', '-r', 'dev.in', '-r', f'{distro}.in', '..']
    report = json.loads(subprocess.check_output(command, cwd=FOLDER))
    found = [item['metadata'] for item in report['install']]
    pins = {item['name'].lower().replace('_', '-'): item['version'] for item in found}
    return {
        name: version.split('+')[0]  # a local build of torch stands for the public version
        for name, version in pins.items()
        if name != 'vpr-ros' and not name.startswith(CUDA)
    }


def merged(old: Pins, new: Pins, limit: str) -> set[str]:
    """Requirement lines, with a marker where the two interpreters differ."""
    same = {f'{name}=={version}' for name, version in old.items() & new.items()}
    below = {f'{n}=={v}; python_version < "{limit}"' for n, v in old.items() - new.items()}
    above = {f'{n}=={v}; python_version >= "{limit}"' for n, v in new.items() - old.items()}
    return same | below | above


def write(name: str, lines: set[str], first: str = '') -> None:
    text = ''.join(f'{line}\n' for line in sorted(lines))
    (FOLDER / f'{name}.txt').write_text(HEADER + first + text, encoding='utf-8')


if __name__ == '__main__':
    main(*sys.argv[1:])
