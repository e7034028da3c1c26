"""Groups of four views: what a student of several models looks at.

Which of near views are most alike is what places are told apart by, and what a student forgets
first. So the views of most groups are a few seconds of a video, a place of a survey and the next
one, or a walk into one picture; and all four have the same camera, light and colour but for
little. Two photographs, each seen twice and by four cameras, are for what is not near: how much
of the world a student knows depends on how many photographs it has met.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import cKDTree

from vpr_ros.training.sources.grouping import turn_between
from vpr_ros.training.views import ViewSet

VIEWS = 4
KINDS = ('seconds', 'places', 'walk', 'photographs')
HEIGHT, WIDTH = 240, 320
NEXT_PLACE_M = (6.0, 18.0)  # of a survey, whose places lie 12 m apart
SAME_HEADING_RAD = 0.5
ROLL_DEG = 3.0


@dataclass(frozen=True)
class Camera:
    """What the four views of a group share; sizes are shares of the picture."""

    side: float
    stretch: float
    x: float
    y: float
    gamma: float
    gain: float
    cast: np.ndarray  # (3,)
    saturation: float
    lines: int  # of the sensor; 0: as many as the picture has
    blur: bool
    noise: float
    steady: float  # 0: the light of each view is its own, 1: that of the camera

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Camera:
        grey = rng.random() < 1 / 3  # a third are grey cameras of few lines
        return cls(
            rng.uniform(0.7, 1.0), 1.2 ** rng.uniform(-1, 1), rng.uniform(-1, 1),
            rng.uniform(-1, 1), np.exp(rng.uniform(-0.35, 0.35)), np.exp(rng.uniform(-0.35, 0.35)),
            np.exp(rng.uniform(-0.12, 0.12, 3)), 0.0 if grey else np.exp(rng.uniform(-0.4, 0.3)),
            int(rng.integers(90, 201)) if grey else 0, rng.random() < 0.2, rng.uniform(0, 0.03),
            rng.choice([0.3, 0.85]),
        )  # fmt: skip


def seen_by(picture: np.ndarray, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """A picture (H, W, 3) through a camera: (240, 320, 3), uint8, RGB."""
    loose = 1.0 - camera.steady
    seen = _cut(picture, camera, rng)
    if camera.lines:
        small = cv2.resize(
            seen, (camera.lines * 4 // 3, camera.lines), interpolation=cv2.INTER_AREA
        )
        seen = cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    if camera.blur:
        seen = cv2.GaussianBlur(seen, (0, 0), rng.uniform(0.6, 1.6))
    values = seen.astype(np.float32) / 255.0
    gamma, gain = (
        value * np.exp(loose * rng.uniform(-0.4, 0.4)) for value in (camera.gamma, camera.gain)
    )
    values = np.maximum(values, 1e-4) ** np.float32(gamma) * np.float32(gain)
    values *= camera.cast.astype(np.float32)
    luma = values @ np.array([0.299, 0.587, 0.114], np.float32)
    values = luma[..., None] + (values - luma[..., None]) * np.float32(camera.saturation)
    values += rng.standard_normal(values.shape, np.float32) * np.float32(camera.noise)
    return (values.clip(0, 1) * 255.0 + 0.5).astype(np.uint8)


def _cut(picture: np.ndarray, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """The part of the picture that the camera sees, shaken a little."""
    height, width = picture.shape[:2]
    side = camera.side * rng.uniform(0.97, 1.03)
    wide = min(1.0, side * camera.stretch**0.5)
    tall = min(1.0, side / camera.stretch**0.5)
    x, y = (at + rng.uniform(-0.05, 0.05) for at in (camera.x, camera.y))
    centre = (
        0.5 + 0.5 * np.clip(x, -1, 1) * (1 - wide),
        0.5 + 0.5 * np.clip(y, -1, 1) * (1 - tall),
    )
    roll = np.deg2rad(rng.uniform(-ROLL_DEG, ROLL_DEG))
    scale_x, scale_y = wide * width / WIDTH, tall * height / HEIGHT
    turn = np.array(
        [
            [scale_x * np.cos(roll), -scale_x * np.sin(roll)],
            [scale_y * np.sin(roll), scale_y * np.cos(roll)],
        ]
    )
    shift = np.array([centre[0] * width, centre[1] * height]) - turn @ (WIDTH / 2, HEIGHT / 2)
    fine = max(scale_x, scale_y)
    if fine > 1.5:  # against aliasing
        picture = cv2.GaussianBlur(picture, (0, 0), 0.4 * fine)
    return cv2.warpAffine(
        picture, np.column_stack((turn, shift)), (WIDTH, HEIGHT),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT,
    )  # fmt: skip


class Groups:
    """Draws groups from a tower's videos, a survey and a folder of photographs, kinds in turn."""

    def __init__(
        self, tower: ViewSet, survey: ViewSet, photos: ViewSet, kinds: Sequence[str] = KINDS
    ) -> None:
        self.tower, self.survey, self.photos = tower, survey, photos
        self.kinds = tuple(kinds)
        self._videos = _runs(self.tower)
        self._tree = cKDTree(self.survey.position_m)

    def draw(self, number: int, seed: int) -> np.ndarray:
        """Group `number`: (4, 240, 320, 3), uint8, RGB; from number, seed and kinds alone."""
        rng = np.random.default_rng([seed, number])
        if self.kind(number) == 'photographs':
            cameras = [Camera.drawn(rng) for _ in range(VIEWS)]
        else:
            cameras = [Camera.drawn(rng)] * VIEWS
        pictures = getattr(self, f'_{self.kind(number)}')(rng)
        seen = zip(pictures, cameras, strict=True)
        return np.stack([seen_by(picture, camera, rng) for picture, camera in seen])

    def kind(self, number: int) -> str:
        return self.kinds[number % len(self.kinds)]

    def _seconds(self, rng: np.random.Generator) -> list[np.ndarray]:
        run = self._videos[rng.integers(len(self._videos))]
        first = rng.integers(len(run) - VIEWS + 1)
        return [self.tower.pictures.read(int(row)) for row in run[first : first + VIEWS]]

    def _places(self, rng: np.random.Generator) -> list[np.ndarray]:
        """Two views of a place, and two of the next one where there is one."""
        views = self.survey
        one = int(rng.integers(len(views)))
        same = np.flatnonzero(views.places == views.places[one])
        near = np.array(self._tree.query_ball_point(views.position_m[one], NEXT_PLACE_M[1]))
        away = np.hypot(*(views.position_m[near] - views.position_m[one]).T)
        turn = turn_between(views.heading_rad[near], views.heading_rad[one])
        next_ones = near[(away > NEXT_PLACE_M[0]) & (turn < SAME_HEADING_RAD)]
        chosen = [one, rng.choice(same)]
        chosen += list(rng.choice(next_ones if len(next_ones) else same, VIEWS - 2))
        return [views.pictures.read(int(row)) for row in chosen]

    def _walk(self, rng: np.random.Generator) -> list[np.ndarray]:
        """Four steps into one photograph, or one frame of the tower, towards a point in it."""
        views = self.tower if rng.random() < 0.4 else self.photos
        picture = views.pictures.read(int(rng.integers(len(views))))
        goal, step = rng.uniform(0.3, 0.7, 2), rng.uniform(0.03, 0.15)
        return [_part(picture, 1.0 - step * number, goal) for number in range(VIEWS)]

    def _photographs(self, rng: np.random.Generator) -> list[np.ndarray]:
        """Two photographs, two parts of each."""
        rows = rng.integers(len(self.photos), size=2).repeat(VIEWS // 2)
        pictures = [self.photos.pictures.read(int(row)) for row in rows]
        return [
            _part(picture, rng.uniform(0.6, 1.0), rng.uniform(0, 1, 2)) for picture in pictures
        ]


def _part(picture: np.ndarray, side: float, at: np.ndarray) -> np.ndarray:
    """A share `side` of height and width, at (y, x): 0 top or left, 1 bottom or right."""
    height, width = picture.shape[:2]
    top, left = (int((1 - side) * a * n) for a, n in zip(at, (height, width), strict=True))
    return picture[top : top + int(side * height), left : left + int(side * width)]


def _runs(tower: ViewSet) -> list[np.ndarray]:
    """Rows of each video in order of time, where there are enough for a group."""
    runs = (np.flatnonzero(tower.sessions == video) for video in np.unique(tower.sessions))
    return [run for run in runs if len(run) >= VIEWS]
