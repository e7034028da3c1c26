"""The house rules, read from the source: who imports whom, who prints or exits, how long it is."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[1]

# A module imports from lower rungs and from its own room.
LADDER = (
    ('errors', 'records', 'threads'),
    ('config', 'download', 'image', 'imagefile'),
    ('bags', 'maps', 'models', 'synthetic'),
    ('recognition',),
    ('embedded', 'evaluation'),
    ('training',),
    ('cli', 'nodes'),
)
RANK = {room: rank for rank, rooms in enumerate(LADDER) for room in rooms}
TORCH_ROOMS = ('image', 'models', 'recognition', 'training')
ROS = re.compile(r'rclpy|launch(_ros)?|cv_bridge|tf2_ros|ament_index_python|\w+_(msgs|interfaces)')
EXITS = ('exit', 'quit', 'sys.exit', 'os._exit', 'os.abort', 'SystemExit')
FUNCTION_LINES = 40
MODULE_LINES = 300

# What stays although a rule speaks against it: the finding, and a sentence that says why.
EXCEPTIONS: dict[str, str] = {
    'cli/live.py imports vpr_ros.nodes': 'Replay and live runs are DDS; the import is late.',
    'cli/demo.py imports vpr_ros.nodes': 'The demo ends with a live run; the import is late.',
    'maps/local_features.py imports torch': 'Reading back gives tensors; the import is late.',
}

# No text of ours names folders of one machine or hosts of a package registry.
FOLDERS = ('.ci', 'benchmarks', 'config', 'docs', 'launch', 'requirements', 'test', 'tools')
SUFFIXES = ('', '.cfg', '.in', '.md', '.msg', '.py', '.rst', '.toml', '.txt', '.xml', '.yaml')
MACHINE = re.compile(r'/(w[o]rk|f[a]rm|r[o]ot|t[m]p|h[o]me/\w+)/|://\S*(py[p]i|deb[i]an|np[m])')


@dataclass(frozen=True)
class Import:
    """One imported name, dotted from the top."""

    name: str
    for_types_only: bool

    @property
    def top(self) -> str:
        return self.name.partition('.')[0]


@dataclass
class Module:
    """One source file: its path below the package, and its text."""

    path: PurePosixPath
    text: str = field(repr=False)

    @property
    def room(self) -> str:
        return self.path.parts[0].removesuffix('.py')

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(ast.parse(self.text)))

    def inside(self, blocks: list[ast.AST]) -> set[int]:
        """Line numbers of the given blocks."""
        return {n for block in blocks for n in range(block.lineno, block.end_lineno + 1)}

    def imports(self) -> Iterator[Import]:
        """Every import, also those inside functions and those for type checkers."""
        tests = [n for n in self.nodes if isinstance(n, ast.If)]
        guarded = self.inside([n for n in tests if 'TYPE_CHECKING' in ast.unparse(n.test)])
        for node in self.nodes:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                prefix = f'{self.origin(node)}.' if isinstance(node, ast.ImportFrom) else ''
                for alias in node.names:
                    yield Import(prefix + alias.name, node.lineno in guarded)

    def origin(self, node: ast.ImportFrom) -> str:
        """The absolute module that a `from ... import` reads."""
        folder = ('vpr_ros', *self.path.parts[:-1])
        above = folder[: len(folder) - node.level + 1] if node.level else ()
        return '.'.join([*above, *filter(None, [node.module])])


def arrows_point_down(module: Module) -> Iterator[str]:
    if module.path == PurePosixPath('__init__.py'):
        return
    if module.room not in RANK:
        yield f'{module.room} has no rung on the ladder'
        return
    for found in module.imports():
        names = found.name.split('.')
        if names[0] == 'vpr_ros' and len(names) > 1:
            room = names[1]
            if room != module.room and RANK.get(room, -1) >= RANK[module.room]:
                yield f'imports vpr_ros.{room}'


def ros_stays_in_nodes(module: Module) -> Iterator[str]:
    for found in module.imports():
        if module.room != 'nodes' and ROS.fullmatch(found.top):
            yield f'imports {found.top}'


def torch_stays_in_its_rooms(module: Module) -> Iterator[str]:
    for found in module.imports():
        loads = 'torch' in found.name.split('.')[:2] and not found.for_types_only
        if loads and module.room not in TORCH_ROOMS:
            yield 'imports torch'


def only_cli_prints(module: Module) -> Iterator[str]:
    for node in module.nodes:
        printing = isinstance(node, ast.Call) and ast.unparse(node.func) == 'print'
        if printing and module.room != 'cli':
            yield 'calls print'


def only_mains_exit(module: Module) -> Iterator[str]:
    if module.room == 'cli':
        return
    functions = [n for n in module.nodes if isinstance(n, ast.FunctionDef)]
    mains = module.inside([n for n in functions if n.name in ('main', 'leave')])
    for node in module.nodes:
        name = ast.unparse(node) if isinstance(node, (ast.Name, ast.Attribute)) else ''
        if name in EXITS and not (module.room == 'nodes' and node.lineno in mains):
            yield f'uses {name}'


def rooms_stay_small(module: Module) -> Iterator[str]:
    if len(module.text.splitlines()) > MODULE_LINES:
        yield f'has more than {MODULE_LINES} lines'
    for node in module.nodes:
        function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        if function and node.end_lineno - node.lineno >= FUNCTION_LINES:
            yield f'{node.name} has more than {FUNCTION_LINES} lines'


RULES = (
    arrows_point_down,
    ros_stays_in_nodes,
    torch_stays_in_its_rooms,
    only_cli_prints,
    only_mains_exit,
    rooms_stay_small,
)


@pytest.fixture(scope='module')
def package() -> list[Module]:
    folder = ROOT / 'vpr_ros'
    files = sorted(folder.rglob('*.py'))
    return [Module(PurePosixPath(f.relative_to(folder).as_posix()), f.read_text()) for f in files]


def findings(rule, modules: list[Module]) -> set[str]:
    return {f'{module.path} {finding}' for module in modules for finding in rule(module)}


@pytest.mark.parametrize('rule', RULES)
def test_the_package_keeps_the_rule(rule, package):
    broken = findings(rule, package) - EXCEPTIONS.keys()
    assert not broken, '\n'.join(sorted(broken))


def test_every_exception_is_still_needed_and_says_why(package):
    found = {finding for rule in RULES for finding in findings(rule, package)}
    assert EXCEPTIONS.keys() <= found
    assert all(reason.endswith('.') and ' ' in reason for reason in EXCEPTIONS.values())


BAD = [
    (arrows_point_down, 'maps/a.py', 'from vpr_ros.recognition.decision import decide'),
    (arrows_point_down, 'maps/a.py', 'from vpr_ros import models'),
    (arrows_point_down, 'maps/a.py', 'def f():\n    import vpr_ros.models.networks.sage'),
    (arrows_point_down, 'maps/a.py', 'from ..models import sage'),
    (arrows_point_down, 'nodes/a.py', 'from .. import cli'),
    (arrows_point_down, 'attic.py', 'import json'),
    (ros_stays_in_nodes, 'bags/a.py', 'def f():\n    from rclpy.node import Node'),
    (ros_stays_in_nodes, 'cli/a.py', 'from vpr_msgs.msg import PlaceMatch'),
    (torch_stays_in_its_rooms, 'maps/a.py', 'import torch.nn as nn'),
    (torch_stays_in_its_rooms, 'maps/a.py', 'from safetensors.torch import load_file'),
    (only_cli_prints, 'nodes/a.py', 'def main():\n    print(1)'),
    (only_mains_exit, 'maps/a.py', 'import sys\nsys.exit(1)'),
    (only_mains_exit, 'maps/a.py', 'def main():\n    raise SystemExit'),
    (only_mains_exit, 'nodes/a.py', 'def configure():\n    exit(1)'),
    (rooms_stay_small, 'maps/a.py', 'def f():\n' + 40 * '    x = 1\n'),
    (rooms_stay_small, 'maps/a.py', 301 * 'x = 1\n'),
]
GOOD = [
    (arrows_point_down, 'maps/a.py', 'from vpr_ros.errors import MapError\nfrom .b import c'),
    (arrows_point_down, 'cli/a.py', 'from vpr_ros import __version__\nimport vpr_ros.training'),
    (ros_stays_in_nodes, 'nodes/a.py', 'import rclpy\nfrom vpr_msgs.msg import PlaceMatch'),
    (torch_stays_in_its_rooms, 'maps/a.py', 'if TYPE_CHECKING:\n    import torch'),
    (torch_stays_in_its_rooms, 'training/a.py', 'import torch'),
    (only_cli_prints, 'cli/a.py', 'print(1)'),
    (only_mains_exit, 'nodes/a.py', 'import sys\ndef main():\n    sys.exit(1)'),
    (rooms_stay_small, 'maps/a.py', 'def f():\n' + 39 * '    x = 1\n' + 200 * 'x = 1\n'),
]


@pytest.mark.parametrize(('rule', 'path', 'text'), BAD)
def test_the_rule_catches(rule, path, text):
    assert list(rule(Module(PurePosixPath(path), text)))


@pytest.mark.parametrize(('rule', 'path', 'text'), GOOD)
def test_the_rule_lets_pass(rule, path, text):
    assert not list(rule(Module(PurePosixPath(path), text)))


def heavy(statement: str) -> set[str]:
    """Which of the heavy libraries a fresh interpreter has loaded after a statement."""
    code = f'{statement}\nimport sys\nprint(*({{"torch", "rclpy", "cv2"}} & set(sys.modules)))'
    command = [sys.executable, '-c', code]
    return set(subprocess.check_output(command, cwd=ROOT, text=True).split())


def test_importing_the_package_loads_nothing_heavy():
    assert heavy('import vpr_ros') == set()
    assert heavy('import cv2, vpr_ros.image') == {'cv2', 'torch'}


def test_no_text_names_this_machine():
    folders = (*FOLDERS, 'vpr_msgs', 'vpr_ros')
    files = [*ROOT.iterdir(), *(f for name in folders for f in (ROOT / name).rglob('*'))]
    texts = [f for f in files if f.is_file() and f.suffix in SUFFIXES]
    named = [
        f'{path.relative_to(ROOT)}: {match[0]}'
        for path in texts
        for match in MACHINE.finditer(path.read_text(encoding='utf-8', errors='replace'))
    ]
    assert len(texts) > 20
    assert not named, '\n'.join(named)


@pytest.mark.parametrize('text', ['/{}/main', 'cd /{}', '/{}/x.bag'])
@pytest.mark.parametrize('folder', ['work', 'root/y', 'tmp/y', 'home/me'])
def test_a_folder_of_this_machine_is_caught(text, folder):
    assert MACHINE.search(text.format(folder) + '/')


@pytest.mark.parametrize('host', ['pypi', 'files.debian', 'npm'])
def test_a_package_registry_is_caught(host):
    assert MACHINE.search(f'https://{host}.org')


def test_other_paths_are_let_pass():
    assert not MACHINE.search('docs/framework/maps, /home/, ~/office.vprmap, https://ros.org/x')
