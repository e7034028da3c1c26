"""Where a picture is taken from, and by which pinhole camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Camera:
    """Pinhole without distortion; pixel centres lie at integer coordinates."""

    height: int = 240
    width: int = 320
    focal_px: float = 230.0

    @property
    def centre_px(self) -> tuple[float, float]:
        """Principal point as (x, y)."""
        return (self.width - 1) / 2.0, (self.height - 1) / 2.0

    def matrix(self) -> np.ndarray:
        """Intrinsic matrix (3, 3), float64."""
        x, y = self.centre_px
        return np.array([[self.focal_px, 0.0, x], [0.0, self.focal_px, y], [0.0, 0.0, 1.0]])


SMALL_CAMERA = Camera()


@dataclass(frozen=True, slots=True)
class View:
    """Pose of the base in the town: x forward, y left, z up; angles applied yaw, pitch, roll.

    Positive pitch looks down, as a rotation about the y axis that points left.
    """

    x_m: float
    y_m: float
    yaw_rad: float
    z_m: float = 0.0
    pitch_rad: float = 0.0
    roll_rad: float = 0.0

    def rotation(self) -> np.ndarray:
        """Rotation base to town (3, 3), float64."""
        cy, sy = np.cos(self.yaw_rad), np.sin(self.yaw_rad)
        cp, sp = np.cos(self.pitch_rad), np.sin(self.pitch_rad)
        cr, sr = np.cos(self.roll_rad), np.sin(self.roll_rad)
        yaw = np.array([[cy, -sy, 0.0], [sy, cy, 0.0], [0.0, 0.0, 1.0]])
        pitch = np.array([[cp, 0.0, sp], [0.0, 1.0, 0.0], [-sp, 0.0, cp]])
        roll = np.array([[1.0, 0.0, 0.0], [0.0, cr, -sr], [0.0, sr, cr]])
        return yaw @ pitch @ roll

    def quaternion(self) -> tuple[float, float, float, float]:
        """Rotation base to town as x, y, z, w."""
        cy, sy = np.cos(self.yaw_rad / 2), np.sin(self.yaw_rad / 2)
        cp, sp = np.cos(self.pitch_rad / 2), np.sin(self.pitch_rad / 2)
        cr, sr = np.cos(self.roll_rad / 2), np.sin(self.roll_rad / 2)
        return (
            float(sr * cp * cy - cr * sp * sy),
            float(cr * sp * cy + sr * cp * sy),
            float(cr * cp * sy - sr * sp * cy),
            float(cr * cp * cy + sr * sp * sy),
        )


@dataclass(frozen=True, slots=True)
class Eye:
    """Centre and axes of the camera in the town."""

    position_m: np.ndarray  # (3,)
    axes: np.ndarray  # (3, 3), rows right, down, forward
    camera: Camera

    @classmethod
    def mounted(cls, view: View, height_m: float, pitch_rad: float, camera: Camera) -> Eye:
        """Put the camera `height_m` above the base, tilted down by `pitch_rad`."""
        base = view.rotation()
        tilt = View(0.0, 0.0, 0.0, pitch_rad=pitch_rad).rotation()
        forward, left, up = (base @ tilt).T
        position = np.array([view.x_m, view.y_m, view.z_m]) + base @ [0.0, 0.0, height_m]
        return cls(position, np.stack([-left, -up, forward]), camera)

    def rays(self) -> np.ndarray:
        """Matrix (3, 3) from (x, y, 1) in pixels to a direction of unit forward depth."""
        return self.axes.T @ np.linalg.inv(self.camera.matrix())

    def project(self, points_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (..., 2) as x, y and forward depth (...) of points (..., 3) in the town."""
        seen = np.einsum('...j,ij->...i', points_m - self.position_m, self.axes)
        depth = seen[..., 2]
        pixels = self.camera.focal_px * seen[..., :2] / depth[..., None]
        return pixels + self.camera.centre_px, depth
