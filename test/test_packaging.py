"""The package as pip, colcon and rosdep see it: versions, dependencies, files, messages."""

from __future__ import annotations

import ast
import re
import runpy
import sys
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree

import pytest
import setuptools

import vpr_ros
from vpr_ros.records import Verdict

ROOT = Path(__file__).resolve().parents[1]
MESSAGES = sorted(path.name for path in (ROOT / 'vpr_msgs/msg').iterdir())

# Import names that differ from the name of the distribution.
DISTRIBUTION = {
    'PIL': 'pillow',
    'backports': 'backports.zstd',
    'cv2': 'opencv-python-headless',
    'faiss': 'faiss-cpu',
    'tf2_ros': 'tf2_ros_py',
    'yaml': 'pyyaml',
}
# What pip installs but rosdep calls by another name, or does not know (installed with pip).
ROSDEP = {
    'opencv-python-headless': 'python3-opencv',
    'pillow': 'python3-pil',
    'pyyaml': 'python3-yaml',
}
WITHOUT_ROSDEP_KEY = {
    'backports.zstd', 'faiss-cpu', 'lz4', 'openvino', 'rosbags', 'safetensors', 'torch',
}  # fmt: skip
LATER_STANDARD = {'compression'}  # part of Python from 3.14 on


@pytest.fixture
def setup_call(monkeypatch) -> dict:
    """The keywords that setup.py hands to setuptools."""
    call: dict = {}
    monkeypatch.setattr(setuptools, 'setup', call.update)
    monkeypatch.chdir(ROOT)
    runpy.run_path('setup.py')
    return call


def manifest(folder: str) -> ElementTree.Element:
    return ElementTree.parse(ROOT / folder / 'package.xml').getroot()


def dependencies(folder: str) -> set[str]:
    return {e.text for e in manifest(folder) if e.tag.endswith('depend')}


def imported(folder: Path) -> set[str]:
    """Distributions of all imports below a folder."""
    names = set()
    for path in folder.rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module.partition('.')[0])
    names -= sys.stdlib_module_names | LATER_STANDARD | {'vpr_ros'}
    return {DISTRIBUTION.get(name, name) for name in names}


@pytest.mark.parametrize(
    ('folder', 'name', 'build_type'),
    [('.', 'vpr_ros', 'ament_python'), ('vpr_msgs', 'vpr_msgs', 'ament_cmake')],
)
def test_manifest(folder, name, build_type):
    root = manifest(folder)
    assert root.get('format') == '3'
    assert root.findtext('name') == name
    assert root.findtext('license') == 'Apache-2.0'
    assert root.findtext('export/build_type') == build_type


def test_one_version_everywhere(setup_call):
    versions = {manifest('.').findtext('version'), manifest('vpr_msgs').findtext('version')}
    assert versions == {setup_call['version']} == {vpr_ros.__version__}


def by_pip(setup_call: dict) -> set[str]:
    """What pip installs with the package, without markers."""
    return {requirement.partition(';')[0] for requirement in setup_call['install_requires']}


def by_ros() -> set[str]:
    return {name for name in dependencies('.') if not name.startswith('python3-')}


def test_imports_and_declared_dependencies_are_the_same(setup_call):
    needed = imported(ROOT / 'vpr_ros') | imported(ROOT / 'launch')
    tested = {e.text for e in manifest('.') if e.tag == 'test_depend'}
    extras = setup_call['extras_require']
    optional = {*extras['export'], *extras['graph'], *extras['train']}
    assert needed - optional == by_pip(setup_call) | (by_ros() - tested)


def test_rosdep_can_install_what_pip_installs(setup_call):
    keys = {ROSDEP.get(n, f'python3-{n}') for n in by_pip(setup_call) - WITHOUT_ROSDEP_KEY}
    assert keys | {'python3-pytest'} == dependencies('.') - by_ros()
    text = (ROOT / 'package.xml').read_text(encoding='utf-8')
    [by_hand] = re.findall('installed with pip: (.*) -->', text)
    assert set(by_hand.split()) == WITHOUT_ROSDEP_KEY


def test_entry_points_can_be_called(setup_call):
    entries = setup_call['entry_points']['console_scripts']
    assert {entry.partition(' = ')[0] for entry in entries} >= {'vpr', 'place_recognition'}
    for entry in entries:
        module, _, function = entry.partition(' = ')[2].partition(':')
        assert callable(getattr(import_module(module), function))


def test_data_files_exist_and_are_complete(setup_call):
    installed = {path for _, paths in setup_call['data_files'] for path in paths}
    assert all((ROOT / path).is_file() for path in installed)
    folders = ('launch', 'config', 'rviz')
    named = [*(p for f in folders for p in ROOT.glob(f'{f}/*')), ROOT / 'resource/vpr_ros']
    ours = {str(p.relative_to(ROOT)) for p in named if p.name != '__pycache__'}
    assert ours | {'package.xml'} == installed
    assert any(path.startswith('launch/') for path in installed)
    assert any(path.startswith('config/') for path in installed)


def test_the_wheel_carries_every_module_and_the_weights(setup_call):
    folders = {p.parent for p in (ROOT / 'vpr_ros').rglob('*.py')}
    modules = {'.'.join(f.relative_to(ROOT).parts) for f in folders}
    assert modules == set(setup_call['packages'])
    [pattern] = setup_call['package_data']['vpr_ros']
    weights = {p.name for p in files('vpr_ros').joinpath('resource').iterdir()}
    assert weights == {p.name for p in (ROOT / 'vpr_ros').glob(pattern)}
    assert any(name.endswith('.safetensors') for name in weights)


def test_cmake_generates_every_message():
    cmake = (ROOT / 'vpr_msgs/CMakeLists.txt').read_text(encoding='utf-8')
    assert re.findall(r'msg/(\w+\.msg)', cmake) == MESSAGES


@pytest.mark.parametrize('name', MESSAGES)
def test_message_explains_itself(name):
    first, *lines = (ROOT / 'vpr_msgs/msg' / name).read_text(encoding='utf-8').splitlines()
    assert re.fullmatch(r'# [A-Z].*\.', first)
    fields = [line for line in lines if re.match(r'\w', line) and '=' not in line.split('#')[0]]
    assert fields
    assert not [field for field in fields if '# ' not in field]


def test_status_numbers_are_those_of_verdict():
    text = (ROOT / 'vpr_msgs/msg/PlaceMatch.msg').read_text(encoding='utf-8')
    status = re.findall(r'uint8 STATUS_(\w+) = (\d+)', text)
    assert {name: int(value) for name, value in status} == {v.name: v.value for v in Verdict}
