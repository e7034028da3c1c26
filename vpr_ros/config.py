"""Every setting with its default, unit, range and help: the one home of each default.

The same field becomes a ROS parameter, a command-line option and a YAML key. Later wins:
dataclass, file, command line. An unknown key is an error, and so is a value of another type.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from vpr_ros.errors import ConfigError

T = TypeVar('T')


@dataclass(frozen=True)
class Option:
    """Help and limits of one setting; `low` and `high` are inclusive."""

    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()


def option(
    default: Any,
    help: str,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """Declare a field of a settings dataclass."""
    return field(default=default, metadata={'option': Option(help, low, high, choices)})


@dataclass(frozen=True)
class ModelConfig:
    """Which model describes images, and where it runs."""

    name: str = option('sage_nano', 'model name, see `vpr models`')
    weights: str = option('', 'checkpoint file; empty: the bundled or fetched weights')
    device: str = option('auto', 'where the model runs', choices=('auto', 'cpu', 'cuda'))
    precision: str = option(
        'auto',
        'of the arithmetic; auto: the fastest that keeps descriptors within cosine 0.999; '
        'int8: within 0.995, on a CPU, after `vpr weights quantize`',
        choices=('auto', 'fp32', 'bf16', 'fp16', 'int8'),
    )


@dataclass(frozen=True)
class SearchConfig:
    """How the map is searched."""

    top_k: int = option(10, 'places retrieved for each query', 1, 1000)


@dataclass(frozen=True)
class DecisionConfig:
    """When a candidate becomes an accepted place."""

    similarity_threshold: float = option(
        0.0,
        'least cosine similarity to accept; 0: the threshold stored with the weights',
        0.0,
        1.0,
    )
    consistent_frames: int = option(2, 'queries in a row that must agree on a place', 1, 100)
    consistent_distance_m: float = option(
        5.0, 'agreeing queries: largest distance between their places', 0.0, 1e6
    )
    consistent_spacing_s: float = option(
        0.5, 'agreeing queries: those closer in time than this count as one', 0.0, 60.0
    )
    consistent_gap_s: float = option(
        5.0, 'agreeing queries: largest time between them, and between unposed places', 0.0, 1e6
    )
    exclude_recent_s: float = option(
        10.0, "the robot's own last seconds, which are not searched", 0.0, 1e6
    )
    exclude_recent_m: float = option(
        2.0, "the robot's own last metres of path, which are not searched", 0.0, 1e6
    )


@dataclass(frozen=True)
class KeyframeConfig:
    """Which images of a drive become places of the map: whatever limit is reached first."""

    distance_m: float = option(0.5, 'a new place after this distance; 0: never', 0.0, 1e6)
    angle_rad: float = option(0.26, 'a new place after this turn; 0: never', 0.0, math.pi)
    period_s: float = option(
        0.5, 'a new place after this time where the pose is not known', 0.0, 1e6
    )


@dataclass(frozen=True)
class PoseConfig:
    """Where poses come from and how they are brought to an image's stamp."""

    max_gap_s: float = option(
        0.5, 'largest time between two poses that may be interpolated', 0.0, 3600.0
    )


@dataclass(frozen=True)
class RecognizerConfig:
    """Everything the front door needs."""

    search: SearchConfig = field(default_factory=SearchConfig)
    decision: DecisionConfig = field(default_factory=DecisionConfig)
    keyframes: KeyframeConfig = field(default_factory=KeyframeConfig)


@dataclass(frozen=True)
class NodeConfig(RecognizerConfig):
    """The live node: where images, poses and places come from and go to."""

    mode: str = option(
        'localize',
        'localize: answer from the map; map: record a new one; both: answer and extend the map',
        choices=('localize', 'map', 'both'),
    )
    map: str = option('', 'map file; empty in mode map: the new map is kept in memory only')
    map_commit_s: float = option(5.0, 'what a power cut may take from a growing map', 0.1, 3600.0)
    map_frame: str = option('map', 'frame of the poses of a new map; a loaded one has its own')
    base_frame: str = option('base_link', 'frame of the robot, whose poses are given')
    camera: str = option('', 'name of the camera in answers and in the map')
    camera_frame: str = option('camera', 'frame_id of answers to images that carry none')
    image_transport: str = option(
        'raw', 'which of the two topics of a camera is taken', choices=('raw', 'compressed')
    )
    pose_input: str = option(
        'none',
        'type of the topic odom: none, nav_msgs/Odometry, geometry_msgs/PoseStamped or '
        'geometry_msgs/PoseWithCovarianceStamped',
        choices=('none', 'odometry', 'pose', 'pose_with_covariance'),
    )
    position_sigma_m: float = option(
        5.0, 'standard deviation stated for a position that was copied from the map', 1e-3, 1e4
    )
    rotation_sigma_rad: float = option(
        0.5, 'standard deviation stated for a rotation that was copied from the map', 1e-3, math.pi
    )
    input_timeout_s: float = option(5.0, 'time without an image that is warned of', 0.1, 3600.0)
    autostart: bool = option(False, 'configure and activate without being asked')
    model: ModelConfig = field(default_factory=ModelConfig)
    pose: PoseConfig = field(default_factory=PoseConfig)


@dataclass(frozen=True)
class AugmentConfig:
    """How far a training image may be changed."""

    smallest_crop: float = option(0.5, 'least side of the crop, as a share', 0.05, 1.0)
    stretch: float = option(1.25, 'largest change of the aspect ratio', 1.0, 4.0)
    tilt_deg: float = option(8.0, 'largest rotation in the image plane', 0.0, 180.0)
    mirror: float = option(0.0, 'share of mirrored images; a mirrored place is another', 0.0, 1.0)
    light: float = option(0.4, 'strength of the changes of light and colour', 0.0, 1.0)
    grey: float = option(0.2, 'share of images without colour', 0.0, 1.0)
    blur: float = option(0.2, 'share of blurred images', 0.0, 1.0)
    noise: float = option(0.04, 'largest standard deviation of the noise, of full scale', 0.0, 1.0)
    collage: float = option(0.0, 'share of images that receive a patch of another', 0.0, 1.0)


@dataclass(frozen=True)
class LossConfig:
    """What the training asks for: the weight of each loss, 0 leaves it out."""

    similarity: float = option(1.0, 'multi-similarity of places', 0.0, 1e3)
    tokens: float = option(0.0, "the teacher's patch features", 0.0, 1e3)
    relations: float = option(0.0, 'which images the teacher finds alike', 0.0, 1e3)


@dataclass(frozen=True)
class TrainConfig:
    """One training run."""

    model: str = option('sage_nano', 'model name, see `vpr models`')
    weights: str = option('', 'checkpoint to start from; empty: the bundled or fetched one')
    backbone: str = option('', 'published backbone (DINOv2, ViT-Ti) to start a new head on')
    scratch: bool = option(False, 'start from random weights')
    teacher: str = option('', 'ViT-Ti/16 weights to learn from (timm names, safetensors)')
    device: str = option('auto', 'where to train', choices=('auto', 'cpu', 'cuda'))
    seed: int = option(0, 'seed of every random act', 0)
    precision: str = option(
        'auto', 'of the forward pass; auto: bf16 on a GPU', choices=('auto', 'fp32', 'bf16')
    )
    image_size: int = option(0, 'side of training images in pixels; 0: the input of the model', 0)
    steps: int = option(500, 'batches', 1)
    places_per_batch: int = option(16, 'P, places in a batch', 1)
    views_per_place: int = option(4, 'K, images of each; 1: images at random, for distillation', 1)
    single_image_share: float = option(
        0.25, 'share of places that are one image K times', 0.0, 1.0
    )
    learning_rate: float = option(1e-4, 'peak of the AdamW learning rate', 0.0, 1.0)
    weight_decay: float = option(1e-4, 'AdamW weight decay', 0.0, 1.0)
    warmup: float = option(0.05, 'share of the steps with a rising learning rate', 0.0, 1.0)
    average: float = option(
        0.99, 'decay of the average of weights that is kept; 0: the last', 0, 1
    )
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)


def load(cls: type[T], path: Path | str) -> T:
    """Read a YAML file into a settings dataclass.

    Raises:
        ConfigError: no such file, not YAML, or a key or value that does not belong.
    """
    try:
        data = yaml.safe_load(Path(path).read_text(encoding='utf-8'))
    except OSError as error:
        raise ConfigError(f'cannot read settings {path}: {error.strerror}') from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f'{path} is not valid YAML: {str(error).splitlines()[0]}') from None
    return from_dict(cls, data or {}, str(path))


def from_dict(cls: type[T], data: Any, where: str = '') -> T:
    """Build a settings dataclass from nested dictionaries; missing keys keep their defaults.

    Raises:
        ConfigError: an unknown key, a value of another type, or one out of range.
    """
    if not isinstance(data, dict):
        raise ConfigError(f'{where or cls.__name__}: expected a table of settings, found {data!r}')
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    types = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for key, value in data.items():
        label = f'{where}: {key}' if where else str(key)
        if key not in fields:
            raise ConfigError(f'{label}: no such setting; known are {", ".join(fields)}')
        if dataclasses.is_dataclass(types[key]):
            values[key] = from_dict(typing.cast(type, types[key]), value, label)
        else:
            values[key] = checked(fields[key], types[key], value, label)
    return cls(**values)


def walk(cls: type, prefix: str = '') -> Iterator[tuple[str, dataclasses.Field, type]]:
    """Every setting of a dataclass and of those nested in it: dotted name, field, type."""
    types = typing.get_type_hints(cls)
    for field_ in dataclasses.fields(cls):
        name, type_ = prefix + field_.name, types[field_.name]
        if dataclasses.is_dataclass(type_):
            yield from walk(typing.cast(type, type_), name + '.')
        else:
            yield name, field_, type_


def updated(config: T, values: dict[str, Any], where: str = '') -> T:
    """The same settings with others by their dotted names.

    Raises:
        ConfigError: an unknown name, a value of another type, or one out of range.
    """
    data = to_dict(config)
    for name, value in values.items():
        *tables, key = name.split('.')
        table: Any = data
        for part in tables:
            table = table.get(part)
            if not isinstance(table, dict):
                raise ConfigError(f'{name}: no such setting')
        table[key] = value
    return from_dict(type(config), data, where)


def to_dict(config: Any) -> dict[str, Any]:
    """Nested plain dictionaries of a settings dataclass; `from_dict` is the inverse."""
    return dataclasses.asdict(config)


def checked(field_: dataclasses.Field, type_: Any, value: Any, label: str) -> Any:
    """The value in the field's type, or a ConfigError that names the field and its limits."""
    if type_ is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not type_:
        raise ConfigError(f'{label}: expected a value of type {type_.__name__}, found {value!r}')
    limits = field_.metadata.get('option', Option(''))
    if limits.choices and value not in limits.choices:
        raise ConfigError(f'{label}: expected one of {", ".join(limits.choices)}, found {value!r}')
    if limits.low is not None and not value >= limits.low:
        raise ConfigError(f'{label}: expected at least {limits.low:g}, found {value!r}')
    if limits.high is not None and not value <= limits.high:
        raise ConfigError(f'{label}: expected at most {limits.high:g}, found {value!r}')
    return value
