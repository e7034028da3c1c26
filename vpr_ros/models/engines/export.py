"""A model as one ONNX file, for other engines: raw images in, descriptors out."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vpr_ros.errors import ExportError
from vpr_ros.models.engines.raw_images import OUTPUTS, RawImages, in_order
from vpr_ros.models.engines.runtime import probe_image
from vpr_ros.models.place_model import PlaceModel
from vpr_ros.models.registry import MODELS, find_weights, untrained_model
from vpr_ros.models.weights.checkpoint import HEADER_KEY, Header, load_checkpoint

PACKAGES = ('onnx', 'onnxruntime', 'onnxscript')
OPSET = 18  # the first in which reductions take their axes as inputs; engines lag behind
LARGEST_BYTES = 2 * 10**9  # a protobuf message holds 2 GiB
TOLERANCE = 1e-3  # of every value put out; descriptors have unit length
LEAST_SHARED = 0.25  # of the places of local features
CHECKED = ((97, 131, 1), (480, 640, 3), (641, 359, 2), (33, 1001, 1))  # height, width, images
OUR_LICENCE = 'Apache-2.0'  # of the bundled weights, as the package

Report = Callable[[int, int], None]
Run = Callable[[np.ndarray], list[np.ndarray]]


@dataclass(frozen=True)
class Exported:
    """What was written, and how far it is from torch."""

    path: Path
    bytes: int
    difference: float  # largest of any output, over the images it was checked with


def export_onnx(
    name: str,
    out: Path | str,
    weights: Path | str = '',
    image_size: tuple[int, int] | None = None,
    report: Report = lambda done, total: None,
) -> Exported:
    """Write a model as one ONNX file, whole, and only if ONNX Runtime agrees with torch.

    Its input is `images` (B, H, W, 3), uint8, RGB, its outputs are those of `Features` and
    `LocalFeatures` by their names. Its metadata have, under the key `vpr_ros`, the JSON header of
    a checkpoint and a licence.

    Args:
        name: a key of MODELS.
        out: the `.onnx` file.
        weights: checkpoint file; empty takes those of `find_weights`.
        image_size: height and width, if the file shall be for images of one size.
        report: called with steps done and steps in all.

    Raises:
        ConfigError: no such model, or one that is for evaluation only.
        CheckpointError: the weights are missing, damaged or another model's.
        ExportError: a package is missing, or the model does not go into one file or does not
            compute the same there.
    """
    require_packages()
    model, header = _loaded(name, weights)
    metadata = _metadata(header, bundled=bool(MODELS[name].bundled) and not weights)
    part = Path(out).with_name(Path(out).name + '.part')
    try:
        difference = _write_checked(model, metadata, part, image_size, report)
        os.replace(part, out)
    except OSError as error:
        raise ExportError(f'cannot write {out}: {error.strerror}') from None
    finally:
        part.unlink(missing_ok=True)
    return Exported(Path(out), Path(out).stat().st_size, difference)


def require_packages() -> None:
    """Check that what only an export needs is installed.

    Raises:
        ExportError: it is not.
    """
    for package in PACKAGES:
        try:
            import_module(package)
        except ImportError as error:
            raise ExportError(
                f'export to ONNX needs the packages {", ".join(PACKAGES)}, but {package} cannot '
                f'be loaded ({error}): pip install {" ".join(PACKAGES)}'
            ) from None


def _loaded(name: str, weights: Path | str) -> tuple[PlaceModel, Header]:
    """The reference network with weights, if it may and can be exported."""
    model = untrained_model(name)
    model.require_single_image()
    path = weights or find_weights(name)
    if not path:
        model.require_weights()  # says how to get them
    header = load_checkpoint(model, path or '')
    needed = sum(tensor.nbytes for tensor in model.network.state_dict().values())
    if needed > LARGEST_BYTES:
        raise ExportError(
            f'{name} has {needed / 1e9:.1f} GB of weights, expected at most '
            f'{LARGEST_BYTES / 1e9:.1f} GB, all that one ONNX file holds: export a smaller model'
        )
    patch, (height, width) = model.network.backbone.config.patch, model.input.size
    model.network.backbone.fix_positions((height // patch, width // patch))
    return model, header


def _metadata(header: Header, bundled: bool) -> str:
    """The header of a checkpoint as JSON, and the licence of its weights where it is on record."""
    source = header.provenance.get('source')
    recorded = source.get('licence') if isinstance(source, dict) else None
    licence = OUR_LICENCE if bundled else recorded or 'unknown'
    return json.dumps({**asdict(header), 'licence': licence}, sort_keys=True)


def _write_checked(
    model: PlaceModel,
    metadata: str,
    path: Path,
    image_size: tuple[int, int] | None,
    report: Report,
) -> float:
    """Convert, and compare with torch on images of several sizes: the largest difference."""
    shapes = [(*image_size, 1), (*image_size, 3)] if image_size else [*CHECKED]
    if not image_size:
        shapes.append((*model.input.size, 1))
    total = 1 + len(shapes)
    report(0, total)
    _convert(model, metadata, path, image_size)
    run, differences = onnx_runtime(path), []
    for done, shape in enumerate(shapes, start=1):
        report(done, total)
        images = _probes(*shape)
        wanted = [x.numpy() for x in in_order(model.describe(list(images)))]
        differences.append(difference(run(images), wanted))
    report(total, total)
    largest = float(np.max(differences))  # NaN stays NaN
    if not largest <= TOLERANCE:
        raise ExportError(
            f'{model.name} in ONNX Runtime differs from torch by {largest:.2g}, expected at '
            f'most {TOLERANCE}: nothing was written; try other versions of {", ".join(PACKAGES)}'
        )
    return largest


def _convert(
    model: PlaceModel, metadata: str, path: Path, image_size: tuple[int, int] | None
) -> None:
    """Trace the network with its preprocessing and write it as ONNX."""
    from torch.onnx import OnnxExporterError

    module = RawImages(model.network, model.input, image_size).eval()
    example = torch.zeros((2, *(image_size or (60, 80)), 3), dtype=torch.uint8)
    axes = {0: 'batch'} if image_size else {0: 'batch', 1: 'height', 2: 'width'}
    try:
        with torch.no_grad(), _quiet():
            program = torch.onnx.export(
                module, (example,), dynamo=True, opset_version=OPSET, verbose=False,
                input_names=['images'], output_names=_names(model), dynamic_shapes=(axes,),
                custom_translation_table={torch.ops.aten.sort.stable: _stable_sort},
            )  # fmt: skip
    except OnnxExporterError as error:
        first = str(error).partition('\n')[0]
        raise ExportError(f'{model.name} cannot be expressed in ONNX: {first}') from error
    assert program is not None  # only torch's older exporter returns nothing
    _forget_origin(program.model)
    program.model.metadata_props[HEADER_KEY] = metadata
    program.save(path, external_data=False)


def _forget_origin(model: Any) -> None:
    """Drop the notes on where each node comes from, which name paths of this machine."""
    model.graph.metadata_props.clear()
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()


def onnx_runtime(path: Path) -> Run:
    """An exported file as a function of images (B, H, W, 3), uint8, to its outputs.

    Raises:
        ExportError: ONNX Runtime cannot load it; so does the function, where it cannot run it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with _blaming(f'ONNX Runtime {onnxruntime.__version__}'):
        session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])

    def run(images: np.ndarray) -> list[np.ndarray]:
        with _blaming(f'ONNX Runtime {onnxruntime.__version__}'):
            return session.run(None, {'images': images})

    return run


@contextmanager
def _blaming(engine: str) -> Iterator[None]:
    """Turn whatever an engine raises, for they share no class of errors, into one of ours."""
    try:
        yield
    except Exception as error:
        first = str(error).strip().partition('\n')[0]
        raise ExportError(
            f'{engine} cannot run the exported model, try another version: {first}'
        ) from error


def _names(model: PlaceModel) -> tuple[str, ...]:
    return OUTPUTS if model.network.has_local else OUTPUTS[:1]


def _probes(height: int, width: int, count: int) -> np.ndarray:
    """Different images (count, height, width, 3), uint8."""
    picture = probe_image((height, width))
    return np.stack([np.roll(picture, 17 * i, axis=(0, 1)) for i in range(count)])


def difference(found: list[np.ndarray], wanted: list[np.ndarray]) -> float:
    """Largest difference of two engines' outputs for the same images.

    Which patches become local features hangs on the last digit where their saliency is the same
    (in FoL it often is zero), so that local features are compared at the places that both chose.

    Args:
        found: arrays named in OUTPUTS, the first alone or all of them.
        wanted: likewise.

    Returns:
        Infinity where shapes, types or most places differ, NaN where a value is NaN.
    """
    if [(x.shape, x.dtype) for x in found] != [(x.shape, x.dtype) for x in wanted]:
        return float('inf')
    (descriptor, *local), (other_descriptor, *other_local) = found, wanted
    largest = [np.abs(descriptor - other_descriptor).max()]
    for image in range(len(descriptor) if local else 0):
        ours, theirs = _rows(local, image), _rows(other_local, image)
        both = sorted(ours.keys() & theirs.keys())
        if len(both) < LEAST_SHARED * max(len(ours), len(theirs), 1):
            return float('inf')
        largest += [np.abs(ours[place] - theirs[place]).max() for place in both]
    return float(np.max(largest))


def _rows(local: list[np.ndarray], image: int) -> dict[tuple[float, float], np.ndarray]:
    """Token and reliability of each local feature of an image, by its place."""
    tokens, valid, position, reliability = (x[image] for x in local)
    values = np.concatenate((tokens, reliability[:, None]), axis=1)
    return {(float(y), float(x)): values[row] for row, (y, x) in enumerate(position) if valid[row]}


def _stable_sort(values: Any, stable: bool, dim: int = -1, descending: bool = False) -> Any:
    """`torch.sort` of masks along their last axis, for the exporter.

    By its definition TopK keeps the order of equals, but OpenVINO's does not: no two keys are
    equal here.
    """
    from onnxscript import BOOL, INT32, UINT8, opset18

    if values.dtype not in (BOOL.dtype, UINT8.dtype):
        raise NotImplementedError(f'stable sort of {values.dtype}')
    op: Any = opset18  # its operators take Python numbers as well as its types say
    count = op.Shape(values, start=-1)
    places = op.Range(op.Constant(value_int=0), op.Squeeze(count), op.Constant(value_int=1))
    places = op.Cast(places, to=INT32.dtype)
    spaced = op.Cast(values, to=INT32.dtype) * op.Cast(count, to=INT32.dtype)
    keys = spaced - places if descending else spaced + places
    _, order = op.TopK(keys, count, axis=dim, largest=int(descending), sorted=1)
    return op.GatherElements(values, order, axis=dim), order


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter from saying what only its developers need to hear."""
    logger = logging.getLogger('torch.onnx')
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logger.setLevel(level)
