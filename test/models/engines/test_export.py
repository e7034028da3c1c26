"""Export to ONNX: what comes out of the file is what torch says, or there is no file."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from shared_data import shared_data

from vpr_ros.cli.main import main
from vpr_ros.errors import ExportError
from vpr_ros.image import to_batch
from vpr_ros.imagefile import read_image
from vpr_ros.models import save_checkpoint
from vpr_ros.models.engines import export
from vpr_ros.models.engines.export import difference, export_onnx
from vpr_ros.models.engines.raw_images import OUTPUTS, RawImages, resize_matrix
from vpr_ros.models.networks.sage_cross import CrossConfig, SageCross
from vpr_ros.models.registry import (
    MODELS,
    TEST_HEAD,
    TEST_VIT,
    ModelSpec,
    load_model,
    untrained_model,
)
from vpr_ros.records import ImageInput, LocalFeatures

ROOT = Path(__file__).resolve().parents[3]


def session(path):
    return onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


@pytest.fixture(scope='module')
def network():
    return untrained_model('sage_test').network


@pytest.fixture(scope='module')
def nano(tmp_path_factory):
    """The bundled model, exported, alone in its folder."""
    path = tmp_path_factory.mktemp('nano') / 'sage_nano.onnx'
    return export_onnx('sage_nano', path)


@pytest.fixture(scope='module')
def real_images():
    """Three frames of a camera, at the size they were taken."""
    folder = shared_data('euroc_v101_keyframes')
    return [read_image(path) for path in sorted(folder.rglob('*.jpg'))[:3]]


@pytest.mark.parametrize('antialias', [True, False])
@pytest.mark.parametrize(
    ('found', 'wanted'), [(70, 70), (33, 70), (71, 70), (641, 70), (1, 7), (5, 1), (2000, 322)]
)
def test_resize_matrix_is_torchs_interpolation(found, wanted, antialias):
    line = torch.rand(1, 1, 1, found)
    expected = F.interpolate(
        line, (1, wanted), mode='bilinear', align_corners=False, antialias=antialias
    )
    matrix = resize_matrix(found, wanted, antialias)
    torch.testing.assert_close(line @ matrix.t(), expected, rtol=0, atol=2e-6)
    torch.testing.assert_close(matrix.sum(dim=1), torch.ones(wanted))


@pytest.mark.parametrize('antialias', [True, False])
@pytest.mark.parametrize('size', [(70, 42), (97, 33), (33, 97), (20, 500)])
def test_preprocessing_is_that_of_the_package(size, antialias, network):
    spec = ImageInput((70, 42), (0.1, 0.2, 0.3), (0.5, 0.6, 0.7), antialias=antialias)
    images = noise(2, *size)
    for fixed in (None, size):
        raw = RawImages(network, spec, fixed).prepare(torch.from_numpy(images))
        torch.testing.assert_close(raw, to_batch(list(images), spec), rtol=0, atol=1e-5)


def test_other_interpolation_is_refused(network):
    with pytest.raises(ExportError, match='expected bilinear interpolation, found bicubic'):
        RawImages(network, ImageInput((70, 70), interpolation='bicubic'))


def test_sage_nano_on_real_images(nano, real_images):
    run, model = session(nano.path), load_model('sage_nano')
    cut = [image[:101, :77] for image in real_images]
    for images in (real_images[:1], real_images, cut, [noise(240, 240)]):
        [found] = run.run(None, {'images': np.stack(images)})
        wanted = model.describe(images).descriptor.numpy()
        assert np.abs(found - wanted).max() < 1e-5
    assert nano.difference < 1e-5


def test_the_file_is_whole_and_says_what_it_is(nano):
    assert list(nano.path.parent.iterdir()) == [nano.path]  # no external data
    assert nano.path.stat().st_size == nano.bytes
    assert str(ROOT).encode() not in nano.path.read_bytes()
    model = onnx.load(nano.path)
    onnx.checker.check_model(model, full_check=True)
    assert {entry.domain for entry in model.opset_import} == {''}
    assert 'Resize' not in {node.op_type for node in model.graph.node}
    header = json.loads({p.key: p.value for p in model.metadata_props}['vpr_ros'])
    reference = load_model('sage_nano')
    assert header['model'] == 'sage_nano' and header['licence'] == 'Apache-2.0'
    assert header['fingerprint'] == reference.fingerprint
    assert header['similarity_threshold'] == reference.similarity_threshold
    assert header['input']['size'] == [240, 240] and header['input']['antialias'] is True
    [image] = session(nano.path).get_inputs()
    assert (image.name, image.type) == ('images', 'tensor(uint8)')
    assert image.shape == ['batch', 'height', 'width', 3]


def test_the_example_in_the_documentation_runs(nano, real_images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, image in (('there.jpg', real_images[0]), ('back.jpg', real_images[1])):
        Image.fromarray(image).save(name)
    text = (ROOT / 'docs/export.md').read_text(encoding='utf-8')
    [code] = re.findall('```python\n(.*?)```', text, re.DOTALL)
    assert "'sage_nano.onnx'" in code
    said: dict = {}
    exec(code.replace('sage_nano.onnx', str(nano.path)), said)
    images = [read_image(name) for name in ('there.jpg', 'back.jpg')]
    both = load_model('sage_nano').describe(images).descriptor
    assert said['similarity'] == pytest.approx(float(both[0] @ both[1]), abs=1e-5)


@pytest.mark.parametrize('name', ['fol_test', 'folpp_test'])
def test_local_features(name, tmp_path):
    save_checkpoint(untrained_model(name), tmp_path / 'w.safetensors')
    made = export_onnx(name, tmp_path / 'm.onnx', tmp_path / 'w.safetensors')
    run, model = session(made.path), load_model(name, tmp_path / 'w.safetensors')
    assert tuple(output.name for output in run.get_outputs()) == OUTPUTS
    for images in (noise(1, 45, 133), noise(3, 70, 70)):
        local = model.describe(list(images)).local
        found = dict(zip(OUTPUTS, run.run(None, {'images': images}), strict=True))
        assert found['valid'].dtype == bool
        for key in OUTPUTS[1:]:
            np.testing.assert_allclose(found[key], getattr(local, key).numpy(), rtol=0, atol=1e-5)


def test_one_image_size(tiny_weights, tmp_path, capsys):
    out = tmp_path / 'one.onnx'
    command = ['export', 'sage_test', '--weights', str(tiny_weights), '--onnx', str(out)]
    assert main([*command, '--image', '48x64']) == 0
    assert re.search(r'one\.onnx: 0\.\d MB, at most \de-0\d from torch', capsys.readouterr().out)
    run = session(out)
    assert run.get_inputs()[0].shape == ['batch', 48, 64, 3]
    images = noise(3, 48, 64)
    wanted = load_model('sage_test', tiny_weights).describe(list(images)).descriptor.numpy()
    assert np.abs(run.run(None, {'images': images})[0] - wanted).max() < 1e-5
    header = json.loads(run.get_modelmeta().custom_metadata_map['vpr_ros'])
    assert header['licence'] == 'unknown'


@pytest.fixture
def converted(monkeypatch):
    """The conversion left out, and a function that sets what ONNX Runtime answers."""
    monkeypatch.setattr(export, '_convert', lambda model, metadata, path, _: path.write_text('x'))

    def answer(change):
        model = load_model('sage_test')

        def run(images):
            model.fingerprint = 'any'
            return [change(model.describe(list(images)).descriptor.numpy())]

        monkeypatch.setattr(export, 'onnx_runtime', lambda path: run)

    return answer


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda found: found + 0.002, 'by 0.002'),
        (lambda found: found * np.nan, 'by nan'),
        (lambda found: found[:, 1:], 'by inf'),
    ],
)
def test_what_differs_is_not_written(change, words, converted, tiny_weights, tmp_path):
    out = tmp_path / 'm.onnx'
    out.write_text('what was there before')
    converted(change)
    with pytest.raises(ExportError, match=words):
        export_onnx('sage_test', out, tiny_weights)
    assert out.read_text() == 'what was there before'
    assert list(tmp_path.iterdir()) == [out]
    converted(lambda found: found)
    assert export_onnx('sage_test', out, tiny_weights).difference < 1e-6
    assert out.read_text() == 'x'


def test_what_onnx_runtime_cannot_load_is_one_sentence(monkeypatch, tiny_weights, tmp_path):
    monkeypatch.setattr(export, '_convert', lambda model, metadata, path, _: path.write_text('x'))
    with pytest.raises(ExportError, match=r'^ONNX Runtime \d.* cannot run the exported model'):
        export_onnx('sage_test', tmp_path / 'm.onnx', tiny_weights)
    assert list(tmp_path.iterdir()) == []


def test_difference_looks_at_all_that_both_found():
    found = [noise(2)[:, :1] / 255, *(x.numpy() for x in vars(local_features()).values())]

    def changed(index, value, where=(0, 1)):
        other = [array.copy() for array in found]
        other[index][where] = value
        return difference(other, found)

    assert difference(found, found) == 0.0
    assert changed(0, 2.0, (1, 0)) > 1.0
    assert changed(1, 0.5) == pytest.approx(0.5)
    assert changed(4, 0.7) == pytest.approx(0.3)
    assert changed(3, 99.0) == changed(2, False) == 0.0  # another place, one place less
    assert changed(3, 99.0, (0, slice(None))) == float('inf')
    assert np.isnan(changed(1, np.nan))
    assert difference(found[:1], found) == float('inf')


def local_features():
    return LocalFeatures(
        torch.zeros(2, 8, 128),
        torch.ones(2, 8, dtype=torch.bool),
        torch.arange(32.0).view(2, 8, 2),
        torch.ones(2, 8),
    )


def test_an_interrupted_export_leaves_nothing(monkeypatch, tiny_weights, tmp_path, capsys):
    def interrupted(model, metadata, path, image_size):
        path.write_text('half')
        raise KeyboardInterrupt

    monkeypatch.setattr(export, '_convert', interrupted)
    command = ['export', 'sage_test', '--weights', str(tiny_weights)]
    assert main([*command, '--onnx', str(tmp_path / 'm.onnx')]) == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('arguments', 'code', 'words'),
    [
        (['sage_test'], 1, 'sage_test has no weights yet'),
        (['resnet'], 2, "no model 'resnet'"),
        (['cross_test'], 2, 'cross_test is for evaluation only'),
        (['sage_test', '--image', '480'], 2, "HEIGHTxWIDTH such as 480x640, found '480'"),
        (['sage_test', '--image', '0x64'], 2, "found '0x64'"),
        (['sage_test', '--weights', 'nothing'], 1, 'no weights at nothing'),
        (['sage_test', '--onnx', 'no/such/m.onnx'], 2, 'no folder no/such'),
    ],
)
def test_what_can_go_wrong_is_one_sentence(arguments, code, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cross = ModelSpec(
        lambda: SageCross(TEST_VIT, TEST_HEAD, CrossConfig(8, 2, 8, 1)), ImageInput((70, 70)), ''
    )
    monkeypatch.setitem(MODELS, 'cross_test', cross)
    assert main(['export', '--onnx', 'm.onnx', *arguments]) == code
    told = capsys.readouterr().err
    assert words in told and told.startswith('vpr: ') and told.count('\n') == 1
    assert list(tmp_path.iterdir()) == []


def test_more_than_one_file_can_hold_is_refused(monkeypatch, tiny_weights, tmp_path):
    monkeypatch.setattr(export, 'LARGEST_BYTES', 10_000)
    with pytest.raises(ExportError, match='GB of weights, expected at most'):
        export_onnx('sage_test', tmp_path / 'm.onnx', tiny_weights)


@pytest.mark.parametrize('package', export.PACKAGES)
def test_a_missing_package_is_named(package, monkeypatch, tiny_weights, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ExportError, match=f'but {package} cannot .* pip install onnx onnxruntime'):
        export_onnx('sage_test', tmp_path / 'm.onnx', tiny_weights)
