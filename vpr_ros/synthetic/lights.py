"""Times of day and weather, and what one session adds to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Light:
    """Sun, sky and air. Colours are linear light; 1 is a white wall in the sun at noon."""

    sun_azimuth_deg: float  # counter-clockwise from the x axis
    sun_elevation_deg: float
    sun: Colour
    ambient: Colour
    zenith: Colour
    horizon: Colour
    cloud: Colour
    cloud_cover: float  # share of the sky, in [0, 1]
    haze_m: float  # distance at which 63 % of the light is that of the horizon
    lit_windows: float = 0.0  # share of windows with a lamp behind them
    lamps: float = 0.0  # strength of the street lamps
    wetness: float = 0.0  # how far the road mirrors the sky, in [0, 1]
    headlights: float = 0.0  # strength of the lamps of the car itself


LIGHTS: dict[str, Light] = {
    'morning': Light(
        35.0, 24.0, (1.45, 1.16, 0.80), (0.46, 0.52, 0.64),
        (0.22, 0.42, 0.78), (0.82, 0.84, 0.84), (1.15, 1.06, 0.98),
        0.45, 650.0,
    ),
    'noon': Light(
        255.0, 56.0, (1.45, 1.38, 1.25), (0.46, 0.52, 0.60),
        (0.14, 0.34, 0.76), (0.66, 0.80, 0.94), (1.20, 1.20, 1.22),
        0.42, 900.0,
    ),
    'afternoon': Light(
        200.0, 36.0, (1.50, 1.30, 1.02), (0.44, 0.50, 0.60),
        (0.17, 0.38, 0.76), (0.76, 0.82, 0.88), (1.20, 1.15, 1.08),
        0.52, 800.0,
    ),
    'evening': Light(
        165.0, 15.0, (1.55, 0.90, 0.44), (0.36, 0.36, 0.48),
        (0.22, 0.33, 0.62), (1.00, 0.68, 0.44), (1.10, 0.72, 0.50),
        0.5, 450.0, lit_windows=0.1,
    ),
    'dusk': Light(
        150.0, 5.0, (0.05, 0.03, 0.03), (0.13, 0.155, 0.25),
        (0.05, 0.09, 0.25), (0.48, 0.29, 0.27), (0.26, 0.19, 0.26),
        0.5, 400.0, lit_windows=0.42, lamps=1.0,
    ),
    'overcast': Light(
        230.0, 48.0, (0.12, 0.12, 0.12), (0.78, 0.80, 0.85),
        (0.66, 0.70, 0.76), (0.86, 0.88, 0.92), (1.00, 1.01, 1.05),
        0.8, 420.0,
    ),
    'rain': Light(
        230.0, 48.0, (0.03, 0.03, 0.03), (0.50, 0.54, 0.60),
        (0.42, 0.46, 0.52), (0.60, 0.64, 0.68), (0.58, 0.60, 0.65),
        0.9, 200.0, lit_windows=0.2, lamps=0.25, wetness=0.5,
    ),
}  # fmt: skip

# Not among those that `Session.random` draws from: they are asked for by name.
HARD_LIGHTS: dict[str, Light] = {
    'night': Light(
        150.0, 30.0, (0.0, 0.0, 0.0), (0.020, 0.022, 0.034),
        (0.004, 0.006, 0.014), (0.050, 0.036, 0.034), (0.036, 0.026, 0.026),
        0.5, 500.0, lit_windows=0.26, lamps=0.85, headlights=0.8,
    ),
    'fog': Light(
        230.0, 48.0, (0.0, 0.0, 0.0), (0.66, 0.68, 0.70),
        (0.70, 0.72, 0.74), (0.72, 0.74, 0.76), (0.71, 0.73, 0.75),
        0.9, 38.0, lit_windows=0.1, lamps=0.1,
    ),
}  # fmt: skip
ALL_LIGHTS = {**LIGHTS, **HARD_LIGHTS}


@dataclass(frozen=True)
class Session:
    """One outing of one camera: light, cars that happen to be parked, mounting and exposure."""

    name: str
    light: Light
    seed: int = 0
    lane_offset_m: float = -1.5  # from the middle of the road, positive to the left
    heading_offset_rad: float = 0.0
    camera_height_m: float = 1.35
    camera_pitch_rad: float = -0.08  # negative looks up
    exposure: float = 1.0
    noise: float = 0.008  # deviation of a pixel, 1 is full scale
    vignetting: float = 0.2  # light lost in the corners
    blur_px: float = 0.0  # sideways smear of the moving camera
    car_share: float = 0.32  # share of parking spaces taken
    season: str = 'summer'  # one of SEASONS

    @classmethod
    def random(cls, rng: np.random.Generator, name: str = '') -> Session:
        """Draw everything but the season by lot; `name` is one of ALL_LIGHTS, or any of LIGHTS."""
        names = list(LIGHTS)
        light = name or names[int(rng.integers(len(names)))]
        return cls(
            name=light,
            light=ALL_LIGHTS[light],
            seed=int(rng.integers(1 << 31)),
            lane_offset_m=float(rng.uniform(-2.0, -0.8)),
            heading_offset_rad=float(rng.normal(0.0, 0.02)),
            camera_height_m=float(rng.uniform(1.2, 1.5)),
            camera_pitch_rad=float(rng.uniform(-0.13, -0.02)),
            exposure=float(np.exp(rng.normal(0.0, 0.18))),
            noise=float(rng.uniform(0.004, 0.025)),
            vignetting=float(rng.uniform(0.1, 0.4)),
            blur_px=float(rng.choice([0.0, 0.0, 1.0, 2.0])),
            car_share=float(rng.uniform(0.1, 0.5)),
        )

    @property
    def sun_direction(self) -> np.ndarray:
        """Unit vector (3,) towards the sun."""
        azimuth = np.deg2rad(self.light.sun_azimuth_deg)
        elevation = np.deg2rad(self.light.sun_elevation_deg)
        flat = np.cos(elevation)
        return np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)])
