"""Colours keep the order of similarities, in equal steps, and set apart what is not known."""

import numpy as np
import pytest

from vpr_ros.nodes.outputs.colours import (
    AMBER,
    GREEN,
    GREY,
    RAMP,
    RED,
    TO_LMS,
    TO_RGB,
    Scale,
    of_session,
    of_verdict,
    oklch,
)
from vpr_ros.records import Verdict


def oklab(colours):
    """OKLab of sRGB colours, the other way round than the module."""
    curve = np.asarray(colours) / 255
    linear = np.where(curve <= 0.04045, curve / 12.92, ((curve + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ np.linalg.inv(TO_RGB).T) @ np.linalg.inv(TO_LMS).T


def test_known_colours_come_out():
    white, red = oklch(np.array([1.0, 0.62796]), np.array([0.0, 0.25768]), np.array([0.0, 29.234]))
    assert white.tolist() == [255, 255, 255]
    np.testing.assert_allclose(red, [255, 0, 0], atol=1)


def test_the_ramp_rises_in_steps_that_look_equal():
    lab = oklab(RAMP)
    assert (np.diff(lab[::8, 0]) > 0).all()
    steps = np.linalg.norm(np.diff(lab[::16], axis=0), axis=1)
    assert steps.max() < 1.25 * steps.min()


def test_the_scale_goes_from_any_place_to_an_answer():
    found = np.array([0.1, 0.2, 0.3, 0.4, -np.inf], np.float32)
    scale = Scale.of(found, 0.65)
    assert (scale.low, scale.high) == pytest.approx((0.25, 0.65))
    np.testing.assert_allclose(scale.share(found[:4]), [0, 0, 0.125, 0.375], atol=1e-6)
    assert Scale.of(found, 0.35).high == pytest.approx(0.4)
    assert Scale.of(found, np.nan).high == pytest.approx(0.4)


def test_colours_of_the_ends_and_of_what_was_not_searched():
    found = np.array([0.0, 0.0, 1.0, -np.inf, np.nan], np.float32)
    colours = Scale.of(found, 0.5).colours(found)
    assert colours[0].tolist() == RAMP[0].tolist() and colours[2].tolist() == RAMP[-1].tolist()
    assert [tuple(x) for x in colours[3:].tolist()] == [GREY, GREY]


@pytest.mark.parametrize('values', [[], [-np.inf], [0.4], [0.4, 0.4]])
def test_little_to_compare_with_is_no_trouble(values):
    found = np.array(values, np.float32)
    colours = Scale.of(found, np.nan).colours(found)
    assert colours.shape == (len(values), 3)
    for value, colour in zip(values, colours.tolist(), strict=True):
        assert tuple(colour) == (GREY if value < 0 else tuple(RAMP[-1].tolist()))


def test_verdicts_and_sessions():
    assert of_verdict(Verdict.ACCEPTED) == GREEN and of_verdict(Verdict.ERROR) == RED
    others = set(Verdict) - {Verdict.ACCEPTED, Verdict.ERROR}
    assert {of_verdict(verdict) for verdict in others} == {AMBER}
    colours = oklab([of_session(k) for k in range(1, 7)])
    apart = np.linalg.norm(colours[:, None] - colours[None], axis=2)[np.triu_indices(6, 1)]
    assert apart.min() > 0.03  # one of 0.02 is just noticed
