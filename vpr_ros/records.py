"""The words everybody shares: plain records that know neither torch nor ROS.

Conventions: height before width; images are RGB uint8; stamps are integer nanoseconds; poses are
the base frame in the map frame; quaternions are x, y, z, w; `X_to = X_from * T`.
"""

from __future__ import annotations

import math
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
    recorded_ns: int = field(default=0, compare=False)  # time of the recording
    depth: np.ndarray | None = field(default=None, repr=False, compare=False)  # (H, W), metres


@dataclass(frozen=True, slots=True)
class ImageInput:
    """What a model expects of its input; travels with the weights.

    The image is resized without keeping its shape (SAGE's protocol), and normalised per channel.
    """

    size: tuple[int, int]  # (height, width)
    mean: Vector = (0.485, 0.456, 0.406)
    std: Vector = (0.229, 0.224, 0.225)
    interpolation: str = 'bilinear'
    antialias: bool = True


@dataclass(frozen=True, slots=True)
class View:
    """One camera's image of a query."""

    image: np.ndarray = field(repr=False, compare=False)  # (H, W, 3) uint8, RGB
    camera: str = ''  # name, as in the map
    depth: np.ndarray | None = field(default=None, repr=False, compare=False)  # (H, W), metres


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
class Camera:
    """A pinhole camera: intrinsics in pixels of an image of `size`, and where it is mounted."""

    size: tuple[int, int]  # (height, width)
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = ()  # k1, k2, p1, p2, k3: OpenCV's plumb_bob; empty: none
    base: Pose | None = None  # optical frame (x right, y down, z ahead) in base; None: unknown

    def matrix(self, size: tuple[int, int] | None = None) -> np.ndarray:
        """Intrinsic matrix (3, 3) for the image scaled to a size (height, width)."""
        height, width = size or self.size
        x, y = width / self.size[1], height / self.size[0]
        cx, cy = (self.cx + 0.5) * x - 0.5, (self.cy + 0.5) * y - 0.5  # centres: whole numbers
        return np.array([[self.fx * x, 0.0, cx], [0.0, self.fy * y, cy], [0.0, 0.0, 1.0]])


class PoseKind(IntEnum):
    """What a relative pose is worth. The values are those of `vpr_msgs/LoopClosure.pose_kind`."""

    NONE = 0  # the same place, no transform
    FROM_MAP = 1  # assumed: the query stands where the place does
    ROTATION_ONLY = 2
    UP_TO_SCALE = 3  # rotation and direction; the cameras' translation is given as one metre long
    METRIC = 4


@dataclass(frozen=True)
class RelativePose:
    """T with `X_to = X_from * T`: the older base (the place's) in the newer one (the query's).

    The covariance (6, 6) is of x, y, z in metres and of rotation about them in radians, in the
    frame of the newer base: finite, symmetric, positive on the diagonal, also for NONE.
    """

    kind: PoseKind
    pose: Pose
    covariance: np.ndarray = field(repr=False, compare=False)


@dataclass(frozen=True)
class Verification:
    """What geometry says of a query and a place: matches, and which of them one motion explains.

    Points are x, y in pixels, (n, 2), float32, of images of these sizes (height, width).
    """

    method: str  # 'corners', 'sift' or 'local features'; what matches were made of
    model: str  # 'fundamental', 'essential' or 'pnp_depth'; '' when there were too few matches
    query_points: np.ndarray = field(repr=False, compare=False)
    place_points: np.ndarray = field(repr=False, compare=False)
    inlier: np.ndarray = field(repr=False, compare=False)  # (n,) bool
    query_size: tuple[int, int] = (0, 0)
    place_size: tuple[int, int] = (0, 0)
    relative: RelativePose | None = None  # None: nothing was measured, or the mounting is unknown

    @property
    def matches(self) -> int:
        return len(self.inlier)

    @property
    def inliers(self) -> int:
        return int(self.inlier.sum())

    @property
    def ratio(self) -> float:
        return self.inliers / self.matches if self.matches else 0.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place that resembles the query, with its evidence; None: not computed."""

    place: Place
    similarity: float  # cosine, in [-1, 1]
    score: float | None = None  # fused score of the re-ranking
    matches: int | None = None  # mutual nearest neighbours among the local features
    verification: Verification | None = None
    tried: bool = False  # to verify it
    seen_by: str = ''  # camera of the query that found it


@dataclass(frozen=True, slots=True)
class Signals:
    """Evidence for the best candidate from which its probability is computed; nan: not known."""

    similarity: float  # cosine
    z_score: float = math.nan  # of it, among the places away from the best one
    gap: float = math.nan  # to the rival: the most similar place away from the best one
    spread: float = math.nan  # of the poses of the candidates, 0 to 1 (SUE, clipped both ways)
    local: float = math.nan  # share of the query's local features that found their like
    inliers: float = math.nan  # of the geometric verification
    inlier_ratio: float = math.nan
    support: float = math.nan  # mass of the temporal filter about the best place, 0 to 1
    agreement: float = math.nan  # queries in a row whose best places lie together
    margin: float = math.nan  # of inliers over those of verified places elsewhere, a log ratio


class Verdict(IntEnum):
    """The outcome of one query. The values are those of `vpr_msgs/PlaceMatch.status`."""

    ACCEPTED = 0
    LOW_SIMILARITY = 1
    AMBIGUOUS = 2
    GEOMETRY_FAILED = 3
    TEMPORAL_PENDING = 4
    INCONSISTENT = 5
    NO_MAP = 6
    BAD_IMAGE = 7
    EXCLUDED_RECENT = 8
    LOW_PROBABILITY = 9
    ERROR = 255


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time of one query went, in milliseconds."""

    preprocess_ms: float = 0.0
    inference_ms: float = 0.0
    search_ms: float = 0.0
    rerank_ms: float = 0.0
    verify_ms: float = 0.0
    decide_ms: float = 0.0  # temporal filter, signals, probability, decision


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
    signals: Signals | None = None
    probability: float = math.nan  # that the best candidate is right; nan: not calibrated
    ambiguity: float = math.nan  # 0: no other place is like the best one, 1: one is as good
    pool: int = 0  # candidates that were re-ranked
    similarities: np.ndarray | None = field(default=None, repr=False, compare=False)
    # (N,) float32, of every place of the map in its order; -inf: not searched
    assumed: Pose | None = None  # T to the best place if the cameras stood alike; None: unknown
    descriptors: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    # (D,) float32 each, by the camera

    @property
    def best(self) -> Candidate | None:
        return self.candidates[0] if self.candidates else None

    @property
    def accepted(self) -> Candidate | None:
        return self.best if self.verdict is Verdict.ACCEPTED else None
