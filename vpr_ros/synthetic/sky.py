"""A panorama of the sky: gradient, sun, clouds and far hills."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vpr_ros.synthetic.lights import Session
from vpr_ros.synthetic.materials import noise
from vpr_ros.synthetic.ripmaps import sample_bilinear

HEIGHT, WIDTH = 320, 1280
CLOUD_SIZE = 1024


@dataclass(frozen=True)
class Sky:
    """Linear light (HEIGHT, WIDTH, 3): azimuth to the right, root of elevation downwards."""

    picture: np.ndarray

    @classmethod
    def paint(cls, session: Session, rng: np.random.Generator) -> Sky:
        light = session.light
        elevation = np.square(np.linspace(0.0, 1.0, HEIGHT)) * np.pi / 2
        azimuth = np.linspace(-np.pi, np.pi, WIDTH)
        flat = np.cos(elevation)[:, None]
        up = np.broadcast_to(np.sin(elevation)[:, None], (HEIGHT, WIDTH))
        direction = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), up], axis=-1)
        to_sun = direction @ session.sun_direction
        share = np.power(1.0 - up, 2.6)[..., None]
        colour = share * np.array(light.horizon) + (1 - share) * np.array(light.zenith)
        colour += np.power(np.clip(to_sun, 0, 1), 24.0)[..., None] * np.array(light.sun) * 0.3
        colour += np.power(np.clip(to_sun, 0, 1), 900.0)[..., None] * np.array(light.sun) * 4.0
        cover = _clouds(direction, light.cloud_cover, rng)
        cloud = np.array(light.cloud) * (0.72 + 0.28 * np.clip(to_sun, 0, 1))[..., None]
        thick = (1.0 - 0.3 * np.clip(cover - 0.5, 0, 1))[..., None]
        colour += cover[..., None] * (cloud * thick - colour)
        ridge = 0.035 + 0.012 * noise(rng, 4, 5, CLOUD_SIZE)[0][np.arange(WIDTH) % CLOUD_SIZE]
        ridge = (
            np.interp(np.arange(WIDTH), [0, 60, WIDTH - 60, WIDTH], [0, 1, 1, 0]) * ridge + 0.01
        )
        hill = np.clip((ridge[None, :] - elevation[:, None]) * 300.0, 0, 1)[..., None]
        far = 0.72 * np.array(light.horizon) + 0.28 * np.array(light.ambient) * [0.25, 0.4, 0.2]
        colour += hill * (far - colour)
        return cls(colour.astype(np.float32))

    def look(self, direction: np.ndarray) -> np.ndarray:
        """Light (N, 3) from directions (N, 3) of any length."""
        length = np.sqrt(np.einsum('ij,ij->i', direction, direction))
        up = np.clip(direction[:, 2] / length, 0.0, 1.0)
        y = np.sqrt(np.arcsin(up) * np.float32(2 / np.pi)) * (HEIGHT - 1)
        x = (np.arctan2(direction[:, 1], direction[:, 0]) / np.float32(2 * np.pi) + 0.5) * (
            WIDTH - 1
        )
        return sample_bilinear(self.picture, x, y)


def _clouds(direction: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """How much cloud (HEIGHT, WIDTH) lies in each direction, in [0, 1]."""
    field = noise(rng, 8, 6, CLOUD_SIZE)
    plane = direction[..., :2] / (direction[..., 2:] + 0.14) * (CLOUD_SIZE / 9.0)
    x, y = np.mod(plane, CLOUD_SIZE - 1).reshape(-1, 2).T
    density = sample_bilinear(field.astype(np.float32), x, y).reshape(direction.shape[:2])
    edge = 1.6 * (1.0 - 2.0 * share)
    body = np.clip((density - edge) / 1.1, 0.0, 1.0)
    return body * body * (3 - 2 * body) * np.clip(direction[..., 2] * 6.0, 0.0, 1.0)
