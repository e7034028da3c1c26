"""From a pose in a town to a picture."""

from __future__ import annotations

import zlib

import cv2
import numpy as np

from vpr_ros.synthetic.camera import SMALL_CAMERA, Camera, Eye, View
from vpr_ros.synthetic.foliage import add_trees
from vpr_ros.synthetic.lights import Session
from vpr_ros.synthetic.occluders import Occluder, add_occluder
from vpr_ros.synthetic.scene import Scene
from vpr_ros.synthetic.shading import shade, trace
from vpr_ros.synthetic.town import Town
from vpr_ros.synthetic.visibility import SPLIT, Seen, look, subpixel_centres

FILM_SPEED = 1.25
CONTRAST = 0.35


def render(town: Town, session: Session, view: View, camera: Camera = SMALL_CAMERA) -> np.ndarray:
    """Draw one picture (H, W, 3) uint8 RGB; for many of one session build a `Scene` once."""
    return render_scene(Scene.build(town, session), view, camera)


def render_scene(
    scene: Scene, view: View, camera: Camera, occluder: Occluder | None = None
) -> np.ndarray:
    """Draw one picture (H, W, 3) uint8 RGB, the same bytes for the same arguments."""
    session = scene.session
    eye = Eye.mounted(view, session.camera_height_m, session.camera_pitch_rad, camera)
    light, inverse_depth = _resolve(scene, look(scene, eye), eye)
    add_trees(scene, eye, light, inverse_depth)
    if occluder is not None:
        add_occluder(light, eye, session.light, occluder)
    return _expose(light, session, view)


def render_with_depth(scene: Scene, view: View, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Draw the picture of `render_scene`, and its depth (H, W), float32, metres; 0: sky.

    Depth is that of one of the parts of a pixel, and never of a mean of two surfaces. Trees are
    pictures that stand upright and face the camera, and so is their depth.
    """
    session = scene.session
    eye = Eye.mounted(view, session.camera_height_m, session.camera_pitch_rad, camera)
    seen = look(scene, eye)
    light, inverse_depth = _resolve(scene, seen, eye)
    reached = _nearest(seen, eye)
    add_trees(scene, eye, light, inverse_depth, reached)
    with np.errstate(divide='ignore'):
        depth = np.where(reached > 0.0, 1.0 / reached, 0.0).astype(np.float32)
    return _expose(light, session, view), depth


def _nearest(seen: Seen, eye: Eye) -> np.ndarray:
    """Inverse depth (H, W) of one part of each pixel, in the middle of the pixel; 0: sky."""
    height, width = eye.camera.height, eye.camera.width
    y, x = np.divmod(np.arange(height * width, dtype=np.float32), np.float32(width))
    return trace(seen, eye, seen.numbers[::SPLIT, ::SPLIT].ravel(), x, y).w.reshape(height, width)


def _resolve(scene: Scene, seen: Seen, eye: Eye) -> tuple[np.ndarray, np.ndarray]:
    """Light (H, W, 3) and inverse depth (H, W) of pixels.

    A pixel that sees one polygon is shaded once, in its middle, for textures are filtered; one
    on an edge is shaded in all its parts.
    """
    height, width = eye.camera.height, eye.camera.width
    first = seen.numbers[::SPLIT, ::SPLIT]
    edge = np.zeros(first.shape, bool)
    for k in range(1, SPLIT * SPLIT):
        edge |= seen.numbers[k // SPLIT :: SPLIT, k % SPLIT :: SPLIT] != first
    whole = np.flatnonzero(~edge)
    row, column = np.nonzero(edge)
    offset = np.arange(SPLIT)
    fine_row = SPLIT * row[:, None, None] + offset[:, None]
    fine_column = SPLIT * column[:, None, None] + offset
    fine = (fine_row * (SPLIT * width) + fine_column).ravel()
    x_fine, y_fine = subpixel_centres(fine, width)
    y_whole, x_whole = np.divmod(whole, width)
    number = np.concatenate([first.ravel()[whole], seen.numbers.ravel()[fine]])
    x = np.concatenate([x_whole.astype(np.float32), x_fine])
    y = np.concatenate([y_whole.astype(np.float32), y_fine])
    points = trace(seen, eye, number, x, y)
    shaded = shade(scene, seen, eye, points)
    light = np.empty((height * width, 3), np.float32)
    inverse = np.empty(height * width, np.float32)
    at_edge = np.flatnonzero(edge)
    light[whole], inverse[whole] = shaded[: len(whole)], points.w[: len(whole)]
    parts_of = SPLIT * SPLIT
    np.minimum(shaded, 3.0, out=shaded)
    light[at_edge] = shaded[len(whole) :].reshape(-1, parts_of, 3).mean(axis=1)
    inverse[at_edge] = points.w[len(whole) :].reshape(-1, parts_of).mean(axis=1)
    return light.reshape(height, width, 3), inverse.reshape(height, width)


def _expose(light: np.ndarray, session: Session, view: View) -> np.ndarray:
    """What the camera makes of the light: smear, vignetting, film curve, noise."""
    height, width = light.shape[:2]
    if session.blur_px > 0:
        light = cv2.blur(light, (1 + round(session.blur_px), 1))
    y, x = np.ogrid[-1.0 : 1.0 : height * 1j, -1.0 : 1.0 : width * 1j]
    gain = 1.0 - session.vignetting * 0.5 * (x * x + y * y)
    light = light * (gain * (session.exposure * FILM_SPEED)).astype(np.float32)[..., None]
    picture = np.sqrt(1.0 - np.exp(-light))
    picture += np.float32(CONTRAST) * (picture * picture * (3.0 - 2.0 * picture) - picture)
    place = np.array([view.x_m, view.y_m, view.yaw_rad, view.pitch_rad, view.roll_rad])
    rng = np.random.default_rng([session.seed, zlib.crc32(place.tobytes())])
    picture += np.float32(session.noise) * rng.standard_normal(picture.shape, dtype=np.float32)
    return np.clip(picture * 255.0 + 0.5, 0, 255).astype(np.uint8)
