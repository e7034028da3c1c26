"""The script as RTAB-Map embeds it: by its bare name, in a fresh interpreter, on signed bytes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vpr_ros.cli.main import main
from vpr_ros.embedded import vpr_descriptor
from vpr_ros.models import build_model, save_checkpoint
from vpr_ros.models.registry import untrained_model

SCRIPT = Path(vpr_descriptor.__file__)

# What PyDescriptor.cpp does. It dies of an exception out of init, of None, of another type or
# shape; and Signature::compareTo of two lengths, of two numbers of descriptors, of NaN.
RTABMAP = """
import sys
del sys.argv
sys.path.append({folder!r})
import numpy as np
script = __import__({name!r})
images = {images}
before = set(sys.path)
script.init({dim})
for image in images:
    handed = np.frombuffer(image.tobytes(), np.int8).reshape(image.shape)
    row = script.extract(handed)
    assert type(row) is np.ndarray and row.dtype == np.float32 and row.flags.c_contiguous
    assert row.shape == (1, {dim}) and np.isfinite(row).all()
    assert (float(np.dot(row[0], -row[0])) + 1) / 2 >= 0
    sys.stdout.write(f'{{float(np.linalg.norm(row)):.4f}} {{float(row[0, 0]):.6f}}\\n')
"""
PICTURES = """[
    np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8),
    np.random.default_rng(0).integers(0, 256, (48, 64, 1), np.uint8),
]"""


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp('weights') / 'test.safetensors'
    save_checkpoint(untrained_model('sage_test', 0), path)
    return path


@pytest.fixture(scope='module')
def model(weights):
    return build_model('sage_test', 'cpu', weights, 'fp32')


@pytest.fixture(scope='module')
def dim(model):
    return model.descriptor_dim


@pytest.fixture
def describer(model, dim):
    made = vpr_descriptor.Describer()
    made._model, made._dim = model, dim
    return made


@pytest.fixture
def start(monkeypatch, capsys):
    """A describer in this process, as an environment has it, and what it says."""

    def begin(dim, **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        made = vpr_descriptor.Describer()
        made.init(dim)
        return made, capsys.readouterr().err

    return begin


def embed(dim, images=PICTURES, **environment):
    """Lengths and first values of the descriptors, and what was said."""
    code = RTABMAP.format(folder=str(SCRIPT.parent), name=SCRIPT.stem, dim=dim, images=images)
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=False, cwd='/',
        env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [tuple(map(float, line.split())) for line in done.stdout.splitlines()]
    return rows, done.stderr


def test_it_describes_as_the_model_does(weights, model, dim, describer):
    given = {'MODEL': 'sage_test', 'WEIGHTS': str(weights), 'DEVICE': 'cpu', 'PRECISION': 'fp32'}
    rows, said = embed(dim, **{f'VPR_{name}': value for name, value in given.items()})
    assert [length for length, _ in rows] == [1.0, 1.0]
    assert 'sage_test' in said
    bgr = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    row = describer.extract(bgr.view(np.int8))
    direct = model.describe([bgr[:, :, ::-1]]).descriptor.numpy()
    assert np.allclose(row, direct, atol=1e-5)
    assert rows[0][1] == pytest.approx(float(direct[0, 0]), abs=1e-4)
    assert np.linalg.norm(row.astype(np.float64)) < 1.0


def test_without_a_model_rtabmap_lives():
    rows, said = embed(7, VPR_MODEL='no_such')
    assert rows == [(0.0, 0.0)] * 2
    [line] = said.splitlines()
    assert line.startswith('vpr_descriptor: ')


@pytest.mark.parametrize(
    ('settings', 'sentence'),
    [
        ({'VPR_MODEL': 'no_such'}, 'no_such'),
        ({'VPR_MODEL': 'sage_test', 'VPR_WEIGHTS': '/no/such.safetensors'}, 'such.safetensors'),
        ({'VPR_MODEL': 'sage_test', 'VPR_WEIGHTS': ''}, 'no weights'),
        ({'VPR_MODEL': 'sage_nano', 'VPR_PRECISION': 'fp7'}, 'precision'),
    ],
)
def test_without_a_model_it_says_why(settings, sentence, start):
    describer, said = start(7, **settings)
    assert sentence in said
    assert said.count('\n') == 1
    row = describer.extract(np.zeros((4, 4, 3), np.int8))
    assert row.shape == (1, 7)
    assert not row.any()


def test_another_length_than_rtabmap_expects_is_refused(start, weights, dim):
    describer, said = start(dim + 1, VPR_MODEL='sage_test', VPR_WEIGHTS=str(weights))
    assert describer.extract(np.ones((4, 4, 3), np.int8)).shape == (1, dim + 1)
    assert f'PyDescriptor/Dim is {dim + 1}' in said
    assert str(dim) in said


@pytest.mark.parametrize(
    'image',
    [
        np.zeros((0, 0, 3), np.int8),
        np.zeros((4, 4, 2), np.int8),
        np.zeros((4, 4), np.int8),
        np.zeros((4, 4, 3), np.float32),
        None,
    ],
)
def test_an_image_that_is_none_has_the_descriptor_zero(image, describer, capsys):
    for _ in range(3):
        assert not describer.extract(image).any()
    assert capsys.readouterr().err.count('without a descriptor') == 1


@pytest.mark.parametrize('error', [MemoryError('x'), KeyboardInterrupt(), SystemExit(3)])
def test_nothing_is_raised_whatever_happens(error, capsys):
    class Broken:
        def describe(self, images):
            raise error

    describer = vpr_descriptor.Describer()
    describer._model, describer._dim = Broken(), 5
    assert describer.extract(np.zeros((4, 4, 3), np.int8)).shape == (1, 5)
    assert capsys.readouterr().err


def test_a_descriptor_that_is_not_finite_is_not_handed_on():
    with pytest.raises(ValueError, match='finite'):
        vpr_descriptor.to_row(np.full((1, 3), np.nan, np.float32), 3)


def test_pixels_are_read_as_they_are():
    bgr = np.array([[[255, 128, 1]]], np.uint8)
    assert vpr_descriptor.to_rgb(bgr.view(np.int8)).tolist() == [[[1, 128, 255]]]
    grey = np.array([[[200]]], np.uint8)
    rgb = vpr_descriptor.to_rgb(grey.view(np.int8))
    assert rgb.tolist() == [[[200, 200, 200]]]
    assert not np.shares_memory(rgb, grey)  # RTAB-Map's memory does not outlive the call


def test_its_folder_stands_in_nobodys_way():
    """RTAB-Map puts it on the module path, where other scripts look for `models` and `utils`."""
    names = {path.stem for path in SCRIPT.parent.iterdir()} - {'__pycache__', '__init__'}
    assert names == {'vpr_descriptor'}


def test_vpr_tells_where_it_is_and_what_to_set(capsys):
    assert main(['rtabmap-descriptor', '--model', 'sage_nano']) == 0
    told = capsys.readouterr().out
    assert f"PyDescriptor/Path: '{SCRIPT}'" in told
    assert "PyDescriptor/Dim: '2176'" in told
    assert 'VPR_MODEL=sage_nano' in told
    assert main(['rtabmap-descriptor', '--model', 'none']) == 2
