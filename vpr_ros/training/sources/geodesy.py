"""Latitude and longitude to metres on a plane that is good enough within a city."""

from __future__ import annotations

import numpy as np

EQUATOR_M = 6378137.0  # WGS 84
ECCENTRICITY_2 = 6.69437999014e-3


def to_plane(latitude_deg: np.ndarray, longitude_deg: np.ndarray) -> np.ndarray:
    """East and north (N, 2) in metres from the middle of the points.

    Arcs of the meridian and of the parallel at the middle latitude: within a city of 50 km the
    distance of two near points is off by less than one part in a hundred.
    """
    latitude, longitude = np.deg2rad(latitude_deg), np.deg2rad(longitude_deg)
    middle = np.array([(latitude.min() + latitude.max()) / 2, longitude.mean()])
    curvature = 1.0 - ECCENTRICITY_2 * np.sin(middle[0]) ** 2
    meridian = EQUATOR_M * (1.0 - ECCENTRICITY_2) / curvature**1.5
    parallel = EQUATOR_M / np.sqrt(curvature) * np.cos(middle[0])
    return np.column_stack([
        parallel * (longitude - middle[1]), meridian * (latitude - middle[0])
    ])  # fmt: skip
