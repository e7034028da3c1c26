"""Colours of what a person sees: similarities, verdicts, sessions. RGB, uint8."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vpr_ros.records import Verdict

Colour = tuple[int, int, int]

GREEN: Colour = (70, 208, 112)
AMBER: Colour = (255, 178, 40)
RED: Colour = (255, 92, 76)
GREY: Colour = (104, 108, 116)  # not searched, or not known
WHITE: Colour = (236, 239, 244)
LEVELS = 256

# Rows give l, m, s of OKLab's L, a, b before they are cubed, and linear red, green, blue of those.
# Bjoern Ottosson, "A perceptual color space for image processing", 2020.
TO_LMS = np.array([
    [1.0, 0.3963377774, 0.2158037573],
    [1.0, -0.1055613458, -0.0638541728],
    [1.0, -0.0894841775, -1.2914855480],
])  # fmt: skip
TO_RGB = np.array([
    [4.0767416621, -3.3077115913, 0.2309699292],
    [-1.2684380046, 2.6097574011, -0.3413193965],
    [-0.0041960863, -0.7034186147, 1.7076147010],
])  # fmt: skip


def oklch(lightness: np.ndarray, chroma: np.ndarray, hue_deg: np.ndarray) -> np.ndarray:
    """Colours (..., 3) uint8 of OKLab in polar form; what no screen can show is clipped."""
    hue = np.radians(hue_deg)
    lab = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=-1)
    linear = np.clip((lab @ TO_LMS.T) ** 3 @ TO_RGB.T, 0.0, 1.0)
    curve = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(255.0 * curve).astype(np.uint8)


def ramp() -> np.ndarray:
    """From dark violet by teal to bright yellow, (256, 3): equal steps look equally large.

    Lightness rises all the way, so that the order is seen without colour vision as well.
    """
    fine = np.linspace(0.0, 1.0, 16 * LEVELS)
    lightness, chroma, hue_deg = 0.44 + 0.47 * fine, 0.08 + 0.08 * fine, 292.0 - 187.0 * fine
    plane = np.column_stack([lightness, chroma * np.exp(1j * np.radians(hue_deg))])
    way = np.append(0.0, np.cumsum(np.linalg.norm(np.diff(plane, axis=0), axis=1)))
    even = np.linspace(0.0, way[-1], LEVELS)
    return oklch(*(np.interp(even, way, values) for values in (lightness, chroma, hue_deg)))


RAMP = ramp()


@dataclass(frozen=True)
class Scale:
    """Which similarity has which colour."""

    low: float  # that of any place: the darkest colour, and all below
    high: float  # what an answer should have: the brightest, and all above

    @classmethod
    def of(cls, similarities: np.ndarray, threshold: float) -> Scale:
        """From the median of what was searched up to the threshold, or to the best if above.

        Args:
            similarities: (N,), float; those that are not finite do not count.
            threshold: least similarity to accept.
        """
        known = similarities[np.isfinite(similarities)]
        if not len(known):
            return cls(0.0, 1.0)
        high = float(known.max())
        return cls(float(np.median(known)), max(high, threshold) if threshold > -1.0 else high)

    def share(self, similarities: np.ndarray) -> np.ndarray:
        """Where on the ramp similarities lie, in [0, 1], float32; those not finite: 0."""
        span = self.high - self.low
        if span <= 0.0:
            return np.where(np.asarray(similarities) >= self.high, 1.0, 0.0).astype(np.float32)
        share = (np.asarray(similarities, np.float32) - self.low) / np.float32(span)
        return np.nan_to_num(share, nan=0.0).clip(0.0, 1.0)

    def colours(self, similarities: np.ndarray) -> np.ndarray:
        """Colours (N, 3) of similarities (N,); what is not finite was not searched: grey."""
        levels = (self.share(similarities) * (LEVELS - 1)).astype(np.uint8)
        colours = RAMP[levels]
        colours[~np.isfinite(similarities)] = GREY
        return colours


def of_verdict(verdict: Verdict) -> Colour:
    """Accepted, refused, or an error."""
    return {Verdict.ACCEPTED: GREEN, Verdict.ERROR: RED}.get(verdict, AMBER)


def of_session(session_id: int) -> Colour:
    """A muted colour; sessions that follow each other are told apart."""
    hue = np.float64(250.0 + 137.508 * (session_id - 1))  # the golden angle
    red, green, blue = oklch(np.float64(0.62), np.float64(0.07), hue).tolist()
    return red, green, blue
