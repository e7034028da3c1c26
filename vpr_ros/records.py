"""The words everybody shares: plain records that know neither torch nor ROS.

Conventions: height before width; images are RGB uint8; stamps are integer nanoseconds; poses are
the base frame in the map frame; quaternions are x, y, z, w; `X_to = X_from * T`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation

if TYPE_CHECKING:
    import torch

MAX_MEGAPIXELS = 80  # nothing larger is read from a file or described

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Pose:
    """A rigid pose: position in metres, unit quaternion x, y, z, w."""

    position_m: Vector
    quaternion: Quaternion = (0.0, 0.0, 0.0, 1.0)

    @classmethod
    def from_matrix(cls, matrix: np.ndarray) -> Pose:
        """Pose of a (4, 4) homogeneous matrix."""
        quaternion = Rotation.from_matrix(matrix[:3, :3]).as_quat()
        return cls(tuple(matrix[:3, 3].tolist()), tuple(quaternion.tolist()))

    def matrix(self) -> np.ndarray:
        """Homogeneous matrix (4, 4), float64."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.rotation().as_matrix()
        matrix[:3, 3] = self.position_m
        return matrix

    def rotation(self) -> Rotation:
        return Rotation.from_quat(self.quaternion)

    def inverse(self) -> Pose:
        return Pose.from_matrix(np.linalg.inv(self.matrix()))

    def __matmul__(self, other: Pose) -> Pose:
        return Pose.from_matrix(self.matrix() @ other.matrix())

    def distance_m(self, other: Pose) -> float:
        return float(np.linalg.norm(np.subtract(self.position_m, other.position_m)))

    def angle_rad(self, other: Pose) -> float:
        """Angle of the rotation between two poses, in [0, pi]."""
        dot = abs(float(np.dot(self.quaternion, other.quaternion)))
        return float(2.0 * np.arccos(min(1.0, dot)))


@dataclass(frozen=True, slots=True)
class Frame:
    """One camera image of a recording or a live stream."""

    image: np.ndarray = field(repr=False, compare=False)  # (H, W, 3) uint8, RGB
    stamp_ns: int
    topic: str = ''
    frame_id: str = ''


@dataclass(frozen=True, slots=True)
class ImageInput:
    """What a model expects of its input; travels with the weights.

    `size` is (height, width) in pixels. The image is resized to it without keeping the aspect
    ratio (SAGE, section 1.2 of the released protocol), then normalised per channel.
    """

    size: tuple[int, int]
    mean: Vector = (0.485, 0.456, 0.406)
    std: Vector = (0.229, 0.224, 0.225)
    interpolation: str = 'bilinear'
    antialias: bool = True


@dataclass(frozen=True)
class LocalFeatures:
    """Local descriptors of B images, n of them each; rows that are not `valid` are zero."""

    tokens: torch.Tensor  # (B, n, 128) float32, unit length
    valid: torch.Tensor  # (B, n) bool
    position: torch.Tensor  # (B, n, 2) float32, y and x in pixels of the model's input
    reliability: torch.Tensor  # (B, n) float32, in [0, 1]

    def __getitem__(self, index: int) -> LocalFeatures:
        one = slice(index, index + 1)
        return LocalFeatures(
            self.tokens[one], self.valid[one], self.position[one], self.reliability[one]
        )


@dataclass(frozen=True)
class Features:
    """What a model says of B images; `features[i]` keeps the batch axis and holds one image."""

    descriptor: torch.Tensor  # (B, D) float32, unit length
    local: LocalFeatures | None = None

    def __getitem__(self, index: int) -> Features:
        local = None if self.local is None else self.local[index]
        return Features(self.descriptor[index : index + 1], local)

    def __len__(self) -> int:
        return len(self.descriptor)


@dataclass(frozen=True, slots=True)
class Place:
    """One row of the map: where, when and by which camera an image was taken."""

    id: int
    session_id: int
    stamp_ns: int
    pose: Pose | None = None
    camera: str = ''
    travelled_m: float | None = None  # path length of the session up to here


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place that resembles the query, with its evidence."""

    place: Place
    similarity: float  # cosine, in [-1, 1]


class Verdict(IntEnum):
    """The outcome of one query. The values are those of `vpr_msgs/PlaceMatch.status`."""

    ACCEPTED = 0
    LOW_SIMILARITY = 1
    TEMPORAL_PENDING = 4
    NO_MAP = 6
    BAD_IMAGE = 7
    EXCLUDED_RECENT = 8
    ERROR = 255


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time of one query went, in milliseconds."""

    preprocess_ms: float = 0.0
    inference_ms: float = 0.0
    search_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Recognition:
    """The answer to one query, accepted or not."""

    query_id: int
    stamp_ns: int
    verdict: Verdict
    reason: str
    candidates: tuple[Candidate, ...] = ()
    consistent_frames: int = 0
    timings: Timings = Timings()
    place: Place | None = None  # the place this query itself became, when mapping

    @property
    def best(self) -> Candidate | None:
        return self.candidates[0] if self.candidates else None

    @property
    def accepted(self) -> Candidate | None:
        return self.best if self.verdict is Verdict.ACCEPTED else None
