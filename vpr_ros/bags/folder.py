"""A recording that is a folder: one or several files, and a metadata.yaml that can be missing."""

from __future__ import annotations

import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from vpr_ros.bags.storage import Storage, open_file
from vpr_ros.errors import BagError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PACKED = '.zstd'
KINDS = {'.mcap': '.mcap', '.db3': '.db3', '.bag': '.bag', '.active': '.bag'}


def open_folder(path: Path, stack: ExitStack) -> tuple[list[Storage], list[str]]:
    """Open the files of a recording in the order of time, and tell what is wrong with it.

    Files and temporary folders are closed by the stack.

    Raises:
        BagError: there is no recording in the folder, or none of its files can be read.
    """
    metadata, notes = _metadata(path)
    listed = [Path(str(x)).name for x in metadata.get('relative_file_paths') or []]
    files = [x for x in sorted(path.iterdir()) if _kind(x.name)]
    kinds = {_kind(x) for x in listed} or {_kind(x.name) for x in files}
    if not files:
        raise BagError(f'{path} holds no recording; expected a .mcap, .db3 or .bag file in it.')
    if len(kinds) > 1:
        raise BagError(
            f'{path} holds files of several kinds ({", ".join(sorted(kinds))}); open one of them.'
        )
    absent = sorted(set(listed) - {x.name for x in files} - {x.name + PACKED for x in files})
    notes += [f'{x} is listed in metadata.yaml but missing.' for x in absent]
    storages: list[Storage] = []
    errors: list[BagError] = []
    for file in (x for x in files if _kind(x.name) in kinds):
        try:
            storages.append(open_file(_unpacked(file, stack)))
            stack.callback(storages[-1].close)
        except BagError as error:
            errors.append(error)
    if not storages:
        raise errors[0] if errors else BagError(f'{path}: {" ".join(notes)}')
    notes += [str(x) for x in errors] + _shortage(metadata, storages)
    return sorted(storages, key=lambda x: x.start_ns), notes


def _kind(name: str) -> str:
    return KINDS.get(Path(name.removesuffix(PACKED)).suffix, '')


def _metadata(folder: Path) -> tuple[dict[str, Any], list[str]]:
    path = folder / 'metadata.yaml'
    if not path.exists():
        if any(folder.glob('*.bag*')):
            return {}, []  # ROS 1 has none
        return {}, [
            f'{folder.name} has no metadata.yaml, so its recorder may not have ended well.'
        ]
    try:
        metadata = yaml.safe_load(path.read_text())['rosbag2_bagfile_information']
        return {**metadata}, []
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        return {}, [f'{path.name} of {folder.name} cannot be read ({error!r}); done without it.']


def _shortage(metadata: dict[str, Any], storages: list[Storage]) -> list[str]:
    """Compare the number of messages with what the recorder noted at its end."""
    found = sum(x.msgcount for storage in storages for x in storage.connections)
    announced = metadata.get('message_count', 0)
    if isinstance(announced, int) and announced > found:
        return [f'{announced - found} of the {announced} messages in metadata.yaml are lost.']
    return []


def _unpacked(file: Path, stack: ExitStack) -> Path:
    """Path of the file itself, or of a decompressed copy that lives as long as the stack."""
    if file.suffix != PACKED:
        return file
    folder = Path(stack.enter_context(TemporaryDirectory(prefix='vpr_bag_')))
    target = folder / file.stem
    try:
        with zstd.open(file) as source, target.open('wb') as copy:
            shutil.copyfileobj(source, copy)
    except (zstd.ZstdError, EOFError):
        pass  # what came before the damage is in the copy, and its reader tells that it ends
    except OSError as error:
        raise BagError(f'{file} cannot be decompressed to {folder}: {error.strerror}.') from None
    return target
