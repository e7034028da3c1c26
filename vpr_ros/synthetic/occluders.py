"""Things that stand close before the camera in one picture and are gone in the next.

Flat pictures that face the camera, as the trees are: a van ahead, people on a crossing.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vpr_ros.synthetic.camera import Eye
from vpr_ros.synthetic.cars import PAINTS
from vpr_ros.synthetic.lights import Light

SIZE = 256
SIZES_M: dict[str, tuple[float, float]] = {  # width and height
    'car': (1.8, 1.5), 'van': (2.0, 2.3), 'truck': (2.5, 3.4), 'bus': (2.5, 3.0),
    'person': (0.75, 1.8), 'board': (1.9, 2.8),
}  # fmt: skip
CHANCES = (0.12, 0.27, 0.18, 0.18, 0.15, 0.10)
NEAREST_M, FARTHEST_M = 0.5, 40.0
ASIDE = 0.3  # widest slope to the side at which the middle of one stands
RUBBER, PANE, LAMP = (0.02, 0.02, 0.022), (0.05, 0.06, 0.07), (0.36, 0.02, 0.015)
SKIN = ((0.55, 0.36, 0.25), (0.30, 0.17, 0.10), (0.66, 0.46, 0.34))

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Occluder:
    """One thing before the camera."""

    kind: str  # one of SIZES_M
    share: float  # of the picture that it hides
    aside: float = 0.0  # slope to the right at which it stands
    seed: int = 0

    @classmethod
    def random(cls, rng: np.random.Generator, low: float = 0.1, high: float = 0.4) -> Occluder:
        """Draw one that hides a share between two limits."""
        return cls(
            kind=str(rng.choice(list(SIZES_M), p=CHANCES)),
            share=float(rng.uniform(low, high)),
            aside=float(rng.uniform(-ASIDE, ASIDE)),
            seed=int(rng.integers(1 << 31)),
        )


def add_occluder(light: np.ndarray, eye: Eye, session_light: Light, occluder: Occluder) -> None:
    """Change linear light (H, W, 3) where something stands before the camera."""
    sprite, glow = _draw(occluder)
    distance = _distance_m(eye, sprite[..., 3], occluder)
    move = _placed(eye, occluder, distance)
    area = light.shape[1::-1]
    seen = cv2.warpAffine(sprite, move, area, flags=cv2.INTER_LINEAR)
    shining = cv2.warpAffine(glow, move, area, flags=cv2.INTER_LINEAR)
    fall = np.linspace(1.15, 0.75, light.shape[0], dtype=np.float32)[:, None, None]
    upon = 0.85 * np.array(session_light.ambient) + 0.3 * np.array(session_light.sun)
    upon += 0.05 * session_light.lamps + session_light.headlights / (1 + distance)
    light *= 1.0 - seen[..., 3:]
    light += seen[..., :3] * (fall * upon.astype(np.float32))
    burning = 0.9 if session_light.lamps else 0.1
    light += np.float32(burning) * shining


def _distance_m(eye: Eye, cover: np.ndarray, occluder: Occluder) -> float:
    """How far it stands, for it to hide its share of the picture: found by halving."""
    near, far = NEAREST_M, FARTHEST_M
    size = (eye.camera.width // 4, eye.camera.height // 4)
    for _ in range(12):
        middle = float(np.sqrt(near * far))
        move = _placed(eye, occluder, middle) / 4.0
        hidden = cv2.warpAffine(cover, move, size, flags=cv2.INTER_LINEAR).mean()
        near, far = (middle, far) if hidden > occluder.share else (near, middle)
    return float(np.sqrt(near * far))


def _placed(eye: Eye, occluder: Occluder, distance_m: float) -> np.ndarray:
    """Affine map (2, 3) from the picture of a thing to pixels of the camera."""
    width, height = SIZES_M[occluder.kind]
    right, ahead = eye.axes[0], eye.axes[2] * [1.0, 1.0, 0.0]
    foot = eye.position_m + distance_m * (ahead + occluder.aside * right)
    foot[2] = 0.0
    across, up = 0.5 * width * right, np.array([0.0, 0.0, height])
    corners, _ = eye.project(np.array([foot - across, foot + across, foot - across + up]))
    own = np.array([[0, SIZE], [SIZE, SIZE], [0, 0]], np.float32)
    return cv2.getAffineTransform(own, corners.astype(np.float32))


class _Sprite:
    """A picture (SIZE, SIZE, 4) in linear light, colour times cover, and what glows in it."""

    def __init__(self) -> None:
        self.rgba = np.zeros((SIZE, SIZE, 4), np.float32)
        self.glow = np.zeros((SIZE, SIZE, 3), np.float32)

    def quad(self, low: Colour | tuple, colour: Colour | np.ndarray, glow: bool = False) -> None:
        """Fill left, top, right, bottom as shares of the picture."""
        x0, y0, x1, y1 = (round(SIZE * value) for value in low)
        self.rgba[y0:y1, x0:x1] = (*colour, 1.0)
        if glow:
            self.glow[y0:y1, x0:x1] = np.multiply(colour, 2.0)

    def shape(self, points: list[tuple[float, float]], colour: Colour | np.ndarray) -> None:
        corners = np.round(np.array(points) * SIZE).astype(np.int32)
        cv2.fillPoly(self.rgba, [corners], (*np.asarray(colour, float).tolist(), 1.0))

    def disc(self, x: float, y: float, across: float, tall: float, colour: Colour) -> None:
        centre, axes = (
            (round(SIZE * x), round(SIZE * y)),
            (round(SIZE * across), round(SIZE * tall)),
        )
        cv2.ellipse(self.rgba, centre, axes, 0, 0, 360, (*colour, 1.0), -1)


def _draw(occluder: Occluder) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(occluder.seed)
    sprite = _Sprite()
    DRAWN[occluder.kind](sprite, rng)
    return sprite.rgba, sprite.glow


def _paint(rng: np.random.Generator) -> np.ndarray:
    return np.square(PAINTS[rng.integers(len(PAINTS))])


def _wheels(s: _Sprite, left: float = 0.1) -> None:
    for x in (left, 0.86 - left):
        s.quad((x, 0.86, x + 0.14, 1.0), RUBBER)


def _lamps(s: _Sprite, top: float, bottom: float) -> None:
    for x in (0.05, 0.86):
        s.quad((x, top, x + 0.09, bottom), LAMP, glow=True)


def _car(s: _Sprite, rng: np.random.Generator) -> None:
    paint = _paint(rng)
    _wheels(s)
    s.shape([(0.02, 0.5), (0.98, 0.5), (1.0, 0.9), (0.0, 0.9)], paint)
    s.shape([(0.2, 0.02), (0.8, 0.02), (0.95, 0.5), (0.05, 0.5)], paint * 0.8)
    s.shape([(0.23, 0.09), (0.77, 0.09), (0.88, 0.45), (0.12, 0.45)], PANE)
    s.quad((0.0, 0.78, 1.0, 0.9), paint * 0.5)
    s.quad((0.35, 0.66, 0.65, 0.74), (0.6, 0.6, 0.5))
    _lamps(s, 0.54, 0.66)


def _van(s: _Sprite, rng: np.random.Generator) -> None:
    paint = _paint(rng)
    _wheels(s, 0.06)
    s.shape([(0.06, 0.0), (0.94, 0.0), (1.0, 0.12), (1.0, 0.92), (0.0, 0.92), (0.0, 0.12)], paint)
    for x in (0.09, 0.53):
        if rng.random() < 0.75:
            s.quad((x, 0.1, x + 0.38, 0.4), PANE)
    s.quad((0.495, 0.06, 0.505, 0.84), paint * 0.4)
    s.quad((0.0, 0.84, 1.0, 0.92), paint * 0.4)
    s.quad((0.54, 0.6, 0.78, 0.66), (0.6, 0.6, 0.5))
    _lamps(s, 0.56, 0.72)


def _truck(s: _Sprite, rng: np.random.Generator) -> None:
    paint, band = _paint(rng), _paint(rng)
    _wheels(s)
    s.quad((0.0, 0.0, 1.0, 0.8), paint)
    top = rng.uniform(0.15, 0.4)
    s.quad((0.0, top, 1.0, top + rng.uniform(0.1, 0.25)), band)
    for x in np.linspace(0.0, 0.98, 4):
        s.quad((x, 0.0, x + 0.02, 0.8), paint * 0.6)
    s.quad((0.03, 0.8, 0.97, 0.88), (0.05, 0.05, 0.055))
    _lamps(s, 0.8, 0.86)


def _bus(s: _Sprite, rng: np.random.Generator) -> None:
    paint = _paint(rng)
    _wheels(s)
    s.shape([(0.04, 0.0), (0.96, 0.0), (1.0, 0.05), (1.0, 0.93), (0.0, 0.93), (0.0, 0.05)], paint)
    s.quad((0.06, 0.14, 0.94, 0.48), PANE)
    s.quad((0.3, 0.03, 0.7, 0.11), (0.55, 0.36, 0.05), glow=True)
    s.quad((0.15, 0.55, 0.85, 0.78), _paint(rng))
    s.quad((0.0, 0.86, 1.0, 0.93), paint * 0.4)
    _lamps(s, 0.62, 0.8)


def _person(s: _Sprite, rng: np.random.Generator) -> None:
    coat, legs = _paint(rng) * 0.7, _paint(rng) * 0.35
    skin = SKIN[rng.integers(len(SKIN))]
    step = rng.uniform(0.02, 0.16)
    for side in (-1.0, 1.0):
        hip, foot = 0.5 + 0.1 * side, 0.5 + (0.12 + step) * side
        s.shape(
            [(hip - 0.11, 0.5), (hip + 0.11, 0.5), (foot + 0.08, 1.0), (foot - 0.1, 1.0)], legs
        )
        hand = 0.5 + (0.3 + 0.5 * step) * side
        s.shape(
            [(0.5, 0.17), (0.5 + 0.24 * side, 0.17), (hand, 0.55), (hand - 0.1 * side, 0.55)],
            coat * 0.8,
        )
    s.shape([(0.27, 0.18), (0.73, 0.18), (0.76, 0.58), (0.24, 0.58)], coat)
    s.disc(0.5, 0.18, 0.22, 0.035, tuple(coat))
    s.disc(0.5, 0.085, 0.115, 0.075, skin)
    s.disc(0.5, 0.05, 0.12, 0.045, tuple(np.array(skin) * rng.uniform(0.1, 0.5)))


def _board(s: _Sprite, rng: np.random.Generator) -> None:
    for x in (0.12, 0.82):
        s.quad((x, 0.6, x + 0.06, 1.0), (0.12, 0.12, 0.12))
    s.quad((0.0, 0.0, 1.0, 0.7), (0.08, 0.08, 0.085))
    s.quad((0.04, 0.03, 0.96, 0.67), _paint(rng))
    for _ in range(5):
        x, y = rng.uniform(0.05, 0.6, 2)
        s.quad((x, y, min(x + rng.uniform(0.1, 0.5), 0.95), min(y + 0.09, 0.66)), _paint(rng))


DRAWN = {
    'car': _car, 'van': _van, 'truck': _truck, 'bus': _bus, 'person': _person, 'board': _board,
}  # fmt: skip
