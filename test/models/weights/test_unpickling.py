"""Foreign checkpoints are data: what would run code is refused by name and never runs."""

import builtins
import os
import pickle
import struct
import warnings
import zipfile

import numpy as np
import pytest
import torch
from released_files import container, rewrite

from vpr_ros.errors import CheckpointError
from vpr_ros.models.weights.unpickling import read_torch_file

WEIGHTS = {'one': torch.arange(8.0), 'two': torch.ones(2, 3)}


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'weights.pth'


@pytest.fixture
def bombs(tmp_path):
    """Calls that leave a file behind if anything makes them."""
    ran = tmp_path / 'ran'
    return {
        'system': Call(os.system, f'touch {ran}'),
        'exec': Call(builtins.exec, f'open({str(ran)!r}, "w")'),
        'eval': Call(builtins.eval, f'open({str(ran)!r}, "w")'),
        'open': Call(builtins.open, str(ran), 'w'),
        'torch.hub': Call(torch.hub.load, str(tmp_path), 'anything'),
        'numpy': Call(np.memmap, str(ran), 'uint8', 'w+', 0, (8,)),
    }


def assert_weights(found):
    assert found.keys() == WEIGHTS.keys()
    assert all(torch.equal(found[key], WEIGHTS[key]) for key in WEIGHTS)


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('content', [WEIGHTS, {'model_state_dict': WEIGHTS}, container(WEIGHTS)])
def test_dicts_of_tensors_are_read(path, content, zipped):
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert_weights(read_torch_file(path))


@pytest.mark.parametrize('module', [b'numpy.core.multiarray', b'numpy._core.multiarray'])
def test_numpy_objects_of_either_generation_are_read_and_forgotten(path, module, monkeypatch):
    torch.save(container(WEIGHTS), path)
    ours = np.ndarray.__reduce__(np.zeros(1))[0].__module__.encode()
    rewrite(path, lambda pickled: pickled.replace(ours, module))
    monkeypatch.setattr(np, 'dtype', None)  # numpy itself is not asked
    assert_weights(read_torch_file(path))


def test_the_prefix_is_stripped_at_the_front_alone(path):
    torch.save({'module.a.module.b': torch.zeros(1)}, path)
    assert list(read_torch_file(path)) == ['a.module.b']


def test_parameters_lose_their_gradient(path):
    torch.save({'x': torch.nn.Parameter(torch.ones(2))}, path)
    assert not read_torch_file(path)['x'].requires_grad


@pytest.mark.parametrize('where', ['alone', 'container', 'state dict'])
@pytest.mark.parametrize('style', ['zip', 'old', 'pickle 0', 'pickle 2', 'pickle 4'])
@pytest.mark.parametrize('kind', ['system', 'exec', 'eval', 'open', 'torch.hub', 'numpy'])
def test_a_pickle_that_would_run_code_is_refused_by_name(path, bombs, kind, style, where):
    bomb = bombs[kind]
    content = {
        'alone': bomb,
        'container': {**container({}), 'extra': bomb},
        'state dict': {'model_state_dict': {'one': [0.0], 'two': bomb}},
    }[where]
    if style.startswith('pickle'):
        path.write_bytes(pickle.dumps(content, protocol=int(style[-1])))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=style == 'zip')
    with pytest.raises(CheckpointError, match=f'would run .*{kind}') as refused:
        read_torch_file(path)
    assert str(path) in str(refused.value) and '\n' not in str(refused.value)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert 'Forgotten' not in str(torch.serialization.get_safe_globals())


def test_the_bombs_are_live(bombs, tmp_path):
    for kind in ('system', 'exec', 'eval', 'open', 'numpy'):
        pickle.loads(pickle.dumps(bombs[kind]))
        (tmp_path / 'ran').unlink()


def test_safe_globals_are_for_the_call_alone(path):
    torch.save(container(WEIGHTS), path)
    read_torch_file(path)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)


@pytest.mark.parametrize('cut', [0.0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize('zipped', [True, False])
def test_a_cut_file(path, cut, zipped):
    torch.save(container(WEIGHTS), path, _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    path.write_bytes(data[: int(cut * len(data))])
    with pytest.raises(CheckpointError, match='damaged') as refused:
        read_torch_file(path)
    assert '\n' not in str(refused.value)


@pytest.mark.parametrize('data', [b'hello', b'PK\x03\x04' + b'x' * 99, b'\x80\x02' + b'\xff' * 99])
def test_what_is_no_checkpoint(path, data):
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match='damaged'):
        read_torch_file(path)


def test_an_old_style_file_with_any_byte_changed_never_gets_out_of_hand(path):
    torch.save(container({'x': torch.zeros(2)}), path, _use_new_zipfile_serialization=False)
    data, rng = path.read_bytes(), np.random.default_rng(0)
    for place in rng.integers(0, len(data), 150):
        changed = bytearray(data)
        changed[place] ^= 1 << rng.integers(0, 8)
        path.write_bytes(changed)
        try:
            read_torch_file(path)
        except CheckpointError as refused:
            assert str(refused).count(str(path)) == 1


def test_a_compressed_archive_is_not_unpacked(path):
    torch.save({'x': torch.zeros(1 << 20)}, path)
    rewrite(path, lambda pickled: pickled, compress=True)
    assert path.stat().st_size < 1 << 16
    with pytest.raises(CheckpointError, match='compressed'):
        read_torch_file(path)


def test_entries_that_share_their_bytes_are_not_unpacked(path):
    torch.save(WEIGHTS, path)
    with zipfile.ZipFile(path, 'a') as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
        archive.filelist.extend([largest] * 99)  # the directory names the same bytes again
        archive.writestr('more', b'')
    with pytest.raises(CheckpointError, match='compressed'):
        read_torch_file(path)


@pytest.mark.parametrize('zipped', [True, False])
def test_a_tensor_that_claims_more_than_is_there(path, zipped):
    torch.save({'x': torch.zeros(8)}, path, _use_new_zipfile_serialization=zipped)
    claim = b'J' + struct.pack('<i', 2**31 - 1)
    if zipped:
        rewrite(path, lambda pickled: pickled.replace(b'K\x08', claim))
    else:
        path.write_bytes(path.read_bytes().replace(b'K\x08', claim))
    with pytest.raises(CheckpointError, match='damaged'):
        read_torch_file(path)


def test_a_program_is_not_loaded(path):
    class Nothing(torch.nn.Module):
        def forward(self, x):
            return x

    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # TorchScript is deprecated
        torch.jit.script(Nothing()).save(path)
    with pytest.raises(CheckpointError, match='TorchScript archive, which is a program'):
        read_torch_file(path)


@pytest.mark.parametrize(
    'content',
    [
        [torch.zeros(1)], torch.zeros(1), {}, 3, {'x': 3}, {1: torch.zeros(1)},
        {'model_state_dict': None}, {'x': torch.zeros(2, 2).to_sparse()},
        {'x': torch.zeros(2, device='meta')},
        {'module.x': torch.zeros(1), 'x': torch.zeros(1)},
    ],
)  # fmt: skip
def test_what_is_not_weights(path, content):
    torch.save(content, path)
    with pytest.raises(CheckpointError, match='expected|twice'):
        read_torch_file(path)


@pytest.mark.filterwarnings('ignore')
def test_quantised_tensors_are_not_weights(path):
    torch.save({'x': torch.quantize_per_tensor(torch.zeros(2), 1.0, 0, torch.qint8)}, path)
    with pytest.raises(CheckpointError, match="plain tensors, found 'x'"):
        read_torch_file(path)


@pytest.mark.parametrize('name', ['a\nb', '\x1b[31m', 'x' * 10**6])
def test_names_do_not_get_at_the_terminal(path, name):
    torch.save({name: torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match='a tensor with the name') as refused:
        read_torch_file(path)
    assert str(refused.value).isprintable() and len(str(refused.value)) < 500


def test_an_old_torch_is_not_trusted(path, monkeypatch):
    torch.save(WEIGHTS, path)
    monkeypatch.setattr(torch, '__version__', '2.5.1+cpu')
    with pytest.raises(CheckpointError, match='needs torch 2.6'):
        read_torch_file(path)
