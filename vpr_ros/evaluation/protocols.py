"""What counts as a true match: rules with names, and the table of truth they give.

Lengths and angles are inclusive ("at most"), gaps are inclusive ("at least"). The preset
`kitti-overlap` of the literature is left out on purpose: it needs depth images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from vpr_ros.errors import DatasetError

MAX_CELLS = 250_000_000  # pairs of one truth table: three bytes each, 750 MB
BLOCK_CELLS = 4_000_000
AXES = {
    name: sign * np.eye(3)[index]
    for index, letter in enumerate('xyz')
    for name, sign in ((letter, 1.0), (f'-{letter}', -1.0))
}


@dataclass(frozen=True)
class TruthRule:
    """When two images show the same place.

    Right: at most `positive_m` apart and viewing directions at most `heading_deg` apart.
    Ignored, neither right nor wrong: same directions, farther, but at most `negative_m`.
    Wrong: everything else. Within one drive only references count that are older by every
    one of `gap_s`, `gap_m` of travelled path and `gap_frames`; the gaps are not used between
    two drives.
    """

    name: str
    positive_m: float
    negative_m: float | None = None  # None: the same as positive_m, nothing is ignored
    heading_deg: float | None = None  # None: the viewing direction is not tested
    gap_s: float = 0.0
    gap_m: float = 0.0
    gap_frames: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.positive_m <= self.outer_m:
            raise DatasetError(
                f'truth rule {self.name}: expected 0 < positive_m <= negative_m, found '
                f'{self.positive_m:g} and {self.outer_m:g}'
            )

    @property
    def outer_m(self) -> float:
        return self.positive_m if self.negative_m is None else self.negative_m


PRESETS = {
    rule.name: rule
    for rule in (
        TruthRule('slam', 10.0, 20.0, heading_deg=45.0, gap_s=30.0, gap_m=50.0),
        TruthRule('indoor', 1.5, heading_deg=45.0, gap_s=10.0),
        TruthRule('tabletop', 0.3, heading_deg=20.0, gap_s=10.0),
        TruthRule('kitti-4m', 4.0, 10.0, gap_frames=50),
        TruthRule('kitti-25m', 25.0, gap_s=30.0),
        TruthRule('robotcar', 25.0),
        TruthRule('geo-25m', 25.0),
    )
}


def preset(name: str) -> TruthRule:
    """The truth rule of this name.

    Raises:
        DatasetError: no such preset.
    """
    if name not in PRESETS:
        known = ', '.join(PRESETS)
        raise DatasetError(f'no truth rule is called {name!r}; known are {known}')
    return PRESETS[name]


@dataclass(frozen=True)
class Track:
    """When and where the N images of one drive were taken; None: not known.

    `viewing_axis` is the axis of the body along which the camera looks: x, y, z or -x, -y, -z.
    """

    stamps_ns: np.ndarray | None = None  # (N,) int64
    positions_m: np.ndarray | None = None  # (N, 3) float64
    quaternions: np.ndarray | None = None  # (N, 4) x, y, z, w
    path_m: np.ndarray | None = None  # (N,) length of the drive so far, in metres
    viewing_axis: str = 'x'

    def __post_init__(self) -> None:
        if self.viewing_axis not in AXES:
            raise DatasetError(
                f'viewing axis {self.viewing_axis!r}: expected one of {", ".join(AXES)}'
            )
        sizes = {len(v) for v in self.arrays().values() if v is not None}
        if len(sizes) > 1:
            raise DatasetError(f'the columns of a track differ in length: {sorted(sizes)} rows')
        for name, values in self.arrays().items():
            if values is not None and not np.isfinite(values).all():
                rows = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
                raise DatasetError(
                    f'{len(rows)} of {len(values)} rows have no finite {name}, the first is row '
                    f'{rows[0]}; leave those images out'
                )

    def arrays(self) -> dict[str, np.ndarray | None]:
        return {
            'stamps_ns': self.stamps_ns,
            'positions_m': self.positions_m,
            'quaternions': self.quaternions,
            'path_m': self.path_m,
        }

    def __len__(self) -> int:
        return next((len(v) for v in self.arrays().values() if v is not None), 0)

    def take(self, rows: np.ndarray) -> Track:
        """The track of these rows, in this order."""
        taken = {k: None if v is None else v[rows] for k, v in self.arrays().items()}
        return Track(**taken, viewing_axis=self.viewing_axis)

    def travelled_m(self) -> np.ndarray | None:
        """Path length up to each image, (N,): as given, or along the positions of a drive.

        Images without stamps are no drive: their order means nothing.
        """
        if self.path_m is not None or self.positions_m is None or self.stamps_ns is None:
            return self.path_m
        steps = np.linalg.norm(np.diff(self.positions_m, axis=0), axis=1)
        return np.concatenate(([0.0], np.cumsum(steps)))[: len(self)]

    def directions(self) -> np.ndarray | None:
        """Unit vector (N, 3) along which each image was taken."""
        if self.quaternions is None:
            return None
        norms = np.linalg.norm(self.quaternions, axis=1)
        if (norms < 1e-6).any():
            row = int(np.argmin(norms))
            raise DatasetError(f'row {row} has a quaternion of length zero; leave that image out')
        return Rotation.from_quat(self.quaternions).apply(AXES[self.viewing_axis])


@dataclass(frozen=True)
class Truth:
    """Which of R references are right answers to Q queries; boolean arrays (Q, R).

    A cell that is not admissible (the query's own recent past) can be neither positive nor
    ignored.
    """

    positive: np.ndarray
    ignored: np.ndarray
    admissible: np.ndarray
    rule: TruthRule | None = None  # None: labelled by hand
    within_drive: bool = False

    @property
    def has_positive(self) -> np.ndarray:
        """Queries that have a right answer at all, (Q,)."""
        return np.asarray(self.positive.any(axis=1))


def truth(rule: TruthRule, queries: Track, references: Track | None = None) -> Truth:
    """Judge every pair of images.

    Without references the queries are compared with the past of their own drive, as the rule's
    gaps demand; with references, all of them are admissible.

    Raises:
        DatasetError: the rule needs something the tracks do not have, or there are more than
            MAX_CELLS pairs.
    """
    others = queries if references is None else references
    shape = tuple(len(needed(t.positions_m, 'position')) for t in (queries, others))
    if shape[0] * shape[1] > MAX_CELLS:
        raise DatasetError(
            f'{shape[0]} queries x {shape[1]} references are more than {MAX_CELLS} pairs; '
            'evaluate fewer queries at a time, or thin the images'
        )
    positive, ignored, admissible = (np.zeros(shape, dtype=bool) for _ in range(3))
    step = max(1, BLOCK_CELLS // max(1, shape[1]))
    for start in range(0, shape[0], step):
        rows = np.arange(start, min(start + step, shape[0]))
        some = queries.take(rows)
        angle = None if rule.heading_deg is None else angles_deg(some, others)
        near, between = judge(rule, distances_m(some, others), angle)
        admissible[rows] = older(rule, queries, rows) if references is None else True
        positive[rows] = near & admissible[rows]
        ignored[rows] = between & admissible[rows]
    return Truth(positive, ignored, admissible, rule, within_drive=references is None)


def labelled(positive: np.ndarray) -> Truth:
    """Truth given by hand, (Q, R): nothing is ignored and every reference is admissible."""
    return Truth(positive, np.zeros_like(positive), np.ones_like(positive))


def judge(
    rule: TruthRule, distance_m: np.ndarray, angle_deg: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Right and ignored pairs, boolean arrays of the shape of the distances."""
    near = np.asarray(distance_m <= rule.positive_m)
    between = np.asarray(distance_m <= rule.outer_m) & ~near
    if angle_deg is None or rule.heading_deg is None:
        return near, between
    alike = np.asarray(angle_deg <= rule.heading_deg)
    return near & alike, between & alike


def older(rule: TruthRule, track: Track, rows: np.ndarray) -> np.ndarray:
    """References of the same drive that are old enough for the queries `rows`, (B, N)."""
    age = rows[:, None] - np.arange(len(track))[None]
    admissible = age >= max(1, rule.gap_frames)
    if rule.gap_s > 0:
        stamps = needed(track.stamps_ns, 'stamp')
        admissible &= stamps[rows, None] - stamps[None] >= round(rule.gap_s * 1e9)
    if rule.gap_m > 0:
        path = needed(track.travelled_m(), 'path length')
        admissible &= path[rows, None] - path[None] >= rule.gap_m
    return admissible


def distances_m(queries: Track, references: Track) -> np.ndarray:
    """Distance of every pair, (Q, R) in metres."""
    ours, theirs = (needed(track.positions_m, 'position') for track in (queries, references))
    squared = sum((ours[:, None, i] - theirs[None, :, i]) ** 2 for i in range(3))
    return np.sqrt(squared)


def angles_deg(queries: Track, references: Track) -> np.ndarray:
    """Angle between the viewing directions of every pair, (Q, R)."""
    ours, theirs = (needed(track.directions(), 'orientation') for track in (queries, references))
    return np.degrees(np.arccos(np.clip(ours @ theirs.T, -1.0, 1.0)))


def needed(values: np.ndarray | None, what: str) -> np.ndarray:
    if values is None:
        raise DatasetError(
            f'this truth rule needs the {what} of every image, which are not known; '
            'choose another rule'
        )
    return values
