"""Weights out of a file that somebody else wrote: a torch checkpoint is a pickle, a program.

Nothing in such a file is run. torch's restricted unpickler knows tensors and plain containers; the
released files also carry NumPy objects (recall figures), for which stand-ins are put that forget
what they are given, so that not even NumPy's unpickling sees the file.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch

from vpr_ros.errors import CheckpointError

WEIGHTS_KEY = 'model_state_dict'
PREFIXES = ('module.', 'dinov2.')  # of DataParallel, and of Hugging Face models with a head
LEAST_TORCH = (2, 6)  # older restricted unpicklers could be made to run code (CVE-2025-32434)
ZIP, PICKLE = b'PK\x03\x04', b'\x80'
LONGEST_NAME = 200
PICKLES = 5  # at the head of an old-style file: magic number, version, machine, content, keys


class Forgotten:
    """What becomes of a NumPy object in a checkpoint."""

    def __init__(self, *parts: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


FORGOTTEN = [
    f'numpy.{name}'
    for name in (
        'core.multiarray._reconstruct', '_core.multiarray._reconstruct',
        'core.multiarray.scalar', '_core.multiarray.scalar',
        'ndarray', 'dtype', 'dtypes.Float32DType', 'dtypes.Float64DType',
    )
]  # fmt: skip
# What weights are made of, for the sentence about a file that wants more; torch does the refusing.
HARMLESS = re.compile(
    r'torch\.([A-Z]\w+|device|[bu]?(float|int|complex|bool)\d*|storage\.\w+|nn\.parameter\.Parameter)'
    r'|torch\._(utils|tensor)\._rebuild\w+|collections\.\w+|_codecs\.encode'
    r'|(builtins|__builtin__)\.(set|complex|bytearray)|numpy\.(_?core\.multiarray|dtypes)\.\w+'
    r'|numpy\.(ndarray|dtype)'
)


def is_torch_file(path: Path | str) -> bool:
    """Whether a file begins like a torch checkpoint, whatever its name says."""
    with open(path, 'rb') as file:
        head = file.read(9)
    # A safetensors header may be as long as any of these bytes say; after it comes its JSON.
    return head.startswith((ZIP, PICKLE)) and head[8:] != b'{'


def read_torch_file(path: Path | str) -> dict[str, torch.Tensor]:
    """Read the weights of a torch checkpoint, old style or zip, without running anything in it.

    Args:
        path: a dict of tensors, or a dict with such a dict under `model_state_dict`.

    Returns:
        Tensors on the CPU by their names, without the prefix `module.`; their shapes are what the
        file claims, so compare them before reading the values.

    Raises:
        CheckpointError: the file is damaged, would run code, or holds no weights.
    """
    if tuple(int(part) for part in torch.__version__.split('.')[:2]) < LEAST_TORCH:
        raise CheckpointError(
            f'reading {path} safely needs torch 2.6 or later, found {torch.__version__}: '
            'convert it to .safetensors with `vpr weights convert` on another machine'
        )
    with open(path, 'rb') as file:
        _check_container(file, path)
        content = _unpickled(file, path)
    return _weights(content, path)


def _check_container(file: BinaryIO, path: Path | str) -> None:
    """Refuse what torch would unpack without asking how large it gets, and programs."""
    if file.read(len(ZIP)) == ZIP:
        try:
            with zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
        except Exception as error:  # a crafted archive can make its reader fail in any way
            raise CheckpointError(f'{path} is a damaged torch checkpoint: {error}') from None
        if any(entry.filename.endswith('/constants.pkl') for entry in entries):
            raise CheckpointError(
                f'{path} is a TorchScript archive, which is a program: expected a state dict'
            )
        packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        if packed or sum(entry.file_size for entry in entries) > Path(path).stat().st_size:
            raise CheckpointError(
                f'{path} is a compressed archive, which torch never writes: it is not unpacked'
            )
    file.seek(0)


def _unpickled(file: BinaryIO, path: Path | str) -> Any:
    stand_ins: Any = [(Forgotten, name) for name in FORGOTTEN]
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(stand_ins):
            warnings.simplefilter('ignore')
            # The open file: by its name, torch would take a .safetensors for something else.
            return torch.load(file, map_location='cpu', weights_only=True)
    except Exception as error:  # so can a crafted pickle
        wanted = [name for name in _globals(file) if not HARMLESS.fullmatch(name)]
        if wanted:
            raise CheckpointError(
                f'{path} would run {printable(wanted[0])} when it is read: it is refused; '
                'take the file from a source that you trust'
            ) from None
        reason = str(error).partition('\n')[0] or type(error).__name__
        if isinstance(error, pickle.UnpicklingError):  # a page of advice to trust the file
            reason = 'expected a torch checkpoint of tensors alone'
        raise CheckpointError(
            f'{path} is a damaged torch checkpoint: {printable(reason)}'
        ) from None


def _globals(file: BinaryIO) -> list[str]:
    """Dotted names of what the pickles of a file would import, as far as they can be read."""
    names: list[str] = []
    try:
        file.seek(0)
        if file.read(len(ZIP)) == ZIP:
            with zipfile.ZipFile(file) as archive:
                [entry] = [n for n in archive.namelist() if n.endswith('/data.pkl')]
                file = io.BytesIO(archive.read(entry))
        file.seek(0)
        for _ in range(PICKLES):
            names.extend(_globals_of_one(file))
    except Exception:  # it was damaged, too; what was found until there counts
        pass
    return names


def _globals_of_one(file: BinaryIO) -> Iterator[str]:
    strings: list[str] = []
    memo: dict[Any, str | None] = {}
    last: str | None = None
    for operation, argument, _ in pickletools.genops(file):
        if operation.name in ('GLOBAL', 'INST'):
            yield str(argument).replace(' ', '.')
        elif operation.name == 'STACK_GLOBAL':
            yield '.'.join(strings[-2:])
        elif operation.name == 'MEMOIZE':
            memo[len(memo)] = last
        elif operation.name.endswith('PUT'):
            memo[argument] = last
        else:
            last = memo.get(argument) if operation.name.endswith('GET') else argument
            if isinstance(last, str):
                strings.append(last)


def _weights(content: Any, path: Path | str) -> dict[str, torch.Tensor]:
    """The tensors of a state dict, with their prefixes stripped."""
    if isinstance(content, Mapping) and WEIGHTS_KEY in content:
        content = content[WEIGHTS_KEY]
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(
            f'{path} holds {type(content).__name__}: expected a dict of tensors, '
            f'or one under {WEIGHTS_KEY}'
        )
    weights: dict[str, torch.Tensor] = {}
    for key, tensor in content.items():
        if not isinstance(key, str) or not _is_plain(tensor):
            raise CheckpointError(
                f'{path}: expected a dict of plain tensors, found {printable(str(key))!r} to be '
                f'{type(tensor).__name__}'
            )
        weights[key] = tensor.detach()
    return strip_prefixes(weights, path)


def strip_prefixes(weights: Mapping[str, torch.Tensor], path: Path | str) -> dict[str, Any]:
    """The same tensors, their names without what wrappers put before them."""
    stripped: dict[str, torch.Tensor] = {}
    for key, tensor in weights.items():
        name = key
        for prefix in PREFIXES:
            name = name.removeprefix(prefix)
        if name != printable(name):
            raise CheckpointError(f'{path} has a tensor with the name {printable(name)}')
        if name in stripped:
            raise CheckpointError(f'{path} has the tensor {name} twice, with and without prefix')
        stripped[name] = tensor
    return stripped


def printable(name: str) -> str:
    """A name as it may be shown: no control characters, not too long."""
    shown = name if name.isprintable() else ascii(name)
    return shown if len(shown) <= LONGEST_NAME else f'{shown[:LONGEST_NAME]}...'


def _is_plain(tensor: Any) -> bool:
    return (
        isinstance(tensor, torch.Tensor)
        and tensor.layout == torch.strided
        and tensor.device.type == 'cpu'
        and not tensor.is_quantized
    )
