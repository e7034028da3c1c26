"""Draw docs/images/concepts.png and concepts_dark.png: the way of one moment's images.

python tools/draw_concepts.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.path import Path as Curve

from vpr_ros.evaluation.theme import DARK, LIGHT, Theme, style

FOLDER = Path(__file__).resolve().parents[1] / 'docs/images'
SIZE = (11.4, 8.0)  # inches
WIDTH, HEIGHT = 114.0, 80.0  # units of the drawing, ten an inch; y points down
LARGE, MIDDLE, SMALL, TINY = 12.5, 10.6, 10.0, 8.4
CAPITAL = 0.365 * 10 / 72  # half of the height of a capital, of a size in points

NOTHING_ALIKE = 'no map\nexcluded recent\nlow similarity'
# Name, what it does, and what it may refuse with, as the diagnostics write it.
STAGES = (
    ('Gate', 'due? moved?\nnot paused?', ''),
    ('Decode', 'RGB, depth;\ncan anything\nbe seen?', 'bad image'),
    ('Describe', 'a descriptor\nof each view,\nlocal features', ''),
    ('Search', 'similarity to\nevery place,\nall cameras', NOTHING_ALIKE),
    ('Re-rank', 'by matches\nof local\nfeatures', ''),
    ('Verify', 'inliers of one\nmotion, and\nrelative pose', 'geometry failed'),
    ('Time', 'do queries in a\nrow agree? and\nodometry?', 'inconsistent\ntemporal pending'),
    ('Decide', 'probability,\nambiguity,\nverdict', 'ambiguous\nlow probability'),
)  # fmt: skip
LEFT, STAGE, GAP = 2.0, 12.6, 1.343
TOP, BOTTOM = 30.0, 49.0  # of the stages


def main() -> int:
    for theme, suffix in ((LIGHT, ''), (DARK, '_dark')):
        with mpl.rc_context(style(theme)):
            draw(theme).savefig(FOLDER / f'concepts{suffix}.png', dpi=160)
    return 0


def draw(theme: Theme) -> Figure:
    figure = Figure(figsize=SIZE, facecolor=theme.paper)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(HEIGHT, 0)
    axes.axis('off')
    pen = Pen(axes, theme)
    draw_inputs(pen)
    draw_stages(pen)
    draw_frames(pen)
    draw_map(pen)
    draw_outputs(pen)
    return figure


class Pen:
    """Boxes, arrows and words in the colours of a theme."""

    def __init__(self, axes: Axes, theme: Theme) -> None:
        self.axes, self.theme = axes, theme

    def box(self, x: float, y: float, width: float, height: float, edge: str = '') -> None:
        self.axes.add_patch(
            FancyBboxPatch(
                (x + 0.6, y + 0.6), width - 1.2, height - 1.2,
                boxstyle='round,pad=0.6,rounding_size=1.0', linewidth=1.3,
                edgecolor=edge or self.theme.line, facecolor=self.theme.paper, zorder=2,
            )
        )  # fmt: skip

    def lane(self, y: float, height: float, name: str) -> None:
        colour = self.theme.line
        self.axes.add_patch(
            FancyBboxPatch(
                (1.4, y + 1), WIDTH - 2.8, height - 2, boxstyle='round,pad=1,rounding_size=1.6',
                linewidth=0, facecolor=colour, alpha=0.33, zorder=0,
            )
        )  # fmt: skip
        self.text(1.9, y + 2.1, name, SMALL, self.theme.faint)

    def text(
        self, x: float, y: float, text: str, size: float = SMALL, colour: str = '',
        bold: bool = False, middle: bool = False,
    ) -> None:  # fmt: skip
        drop = 0.0 if '\n' in text else size * CAPITAL
        self.axes.text(
            x, y + drop, text, fontsize=size, color=colour or self.theme.ink, zorder=4,
            weight='bold' if bold else 'normal', ha='center' if middle else 'left',
            va='center' if '\n' in text else 'baseline', linespacing=1.22,
        )  # fmt: skip

    def arrow(self, *points: tuple[float, float], colour: str = '') -> None:
        self.axes.add_patch(
            FancyArrowPatch(
                path=Curve(points), arrowstyle='-|>', mutation_scale=14, linewidth=1.7,
                joinstyle='round', capstyle='round', color=colour or self.theme.faint, zorder=3,
            )
        )  # fmt: skip


def draw_inputs(pen: Pen) -> None:
    theme = pen.theme
    pen.lane(1, 22, "the executor's thread: subscriptions, services, timers")
    for y, name in ((5.4, 'front/image'), (13.6, 'rear/image')):
        pen.box(2, y, 17, 7, theme.accent)
        pen.text(10.5, y + 3.5, name, MIDDLE, theme.accent, middle=True)
    pen.box(26, 7, 23, 12)
    pen.text(37.5, 10, 'Rig', LARGE, bold=True, middle=True)
    pen.text(37.5, 14.8, 'images of one moment,\nwithin camera_gap_s', middle=True)
    pen.box(56, 7, 24, 12, theme.accent)
    pen.text(68, 10, 'One place to wait', LARGE, bold=True, middle=True)
    pen.text(68, 14.8, 'the newest frame wins,\ndrops are counted', middle=True)
    for y in (8.9, 17.1):
        pen.arrow((19.4, y), (22.6, y), (22.6, 13), (25.7, 13))
    pen.arrow((49.4, 13), (55.7, 13))
    pen.arrow((68, 19.4), (68, 26), (8.3, 26), (8.3, TOP - 0.3))
    pen.box(86, 4.4, 26, 7)
    pen.text(99, 7.9, 'camera_info, depth, /tf_static', TINY + 0.6, middle=True)
    pen.box(86, 13.6, 26, 7)
    pen.text(99, 17.1, 'odom or /tf', MIDDLE, middle=True)
    verify, time = centre(5), centre(6)
    pen.arrow((85.7, 7.9), (83, 7.9), (83, 25), (verify, 25), (verify, TOP - 0.3))
    pen.arrow((99, 20.9), (99, 25), (time, 25), (time, TOP - 0.3))


def draw_stages(pen: Pen) -> None:
    theme = pen.theme
    pen.lane(24.2, 26.6, '')
    pen.text(11.6, 27.9, "the worker's thread: model, map, answers", SMALL, theme.faint)
    for index, (name, does, refuses) in enumerate(STAGES):
        x, middle = LEFT + index * (STAGE + GAP), centre(index)
        pen.box(x, TOP, STAGE, BOTTOM - TOP)
        pen.text(middle, TOP + 2.5, name, LARGE, bold=True, middle=True)
        pen.text(middle, TOP + 8, does, SMALL - 0.2, middle=True)
        pen.text(middle, TOP + 15.2, refuses, TINY, theme.wrong, middle=True)
        if index:
            pen.arrow((x - GAP - 0.25, TOP + 2.5), (x + 0.25, TOP + 2.5), colour=theme.ink)


def draw_frames(pen: Pen) -> None:
    """A path that comes back to where it was: two bases, and what leads from one to the other."""
    theme = pen.theme
    pen.box(2, 54, 37, 24)
    pen.text(4, 56.6, 'A closure: X_to = X_from * T', LARGE, bold=True)
    curve = Curve(
        [(5, 65.2), (16, 60), (37, 57), (37, 66.5), (37, 74), (17, 75), (11.5, 71.6)],
        [Curve.MOVETO] + 6 * [Curve.CURVE4],
    )
    pen.axes.add_patch(
        FancyArrowPatch(path=curve, arrowstyle='-', linewidth=2.2, color=theme.line, zorder=2)
    )
    for x, y, colour in ((9.4, 63.6, theme.accent), (11.5, 71.6, theme.right)):
        pen.axes.add_patch(Ellipse((x, y), 1.7, 1.7, color=colour, zorder=5))
    pen.arrow((11.2, 70.4), (9.75, 65.1), colour=theme.ink)
    pen.text(7.3, 68.2, 'T', LARGE, bold=True)
    pen.text(12.2, 64.9, 'to: the place,\nolder', SMALL, theme.accent)
    pen.text(14.2, 70.6, 'from: the query, newer', SMALL, theme.right)
    pen.text(4, 76, 'X: poses of the base in one frame', TINY + 0.5, theme.faint)


def draw_map(pen: Pen) -> None:
    theme = pen.theme
    pen.box(43, 54, 37, 24, theme.accent)
    pen.text(45, 56.6, 'The map: one file', LARGE, bold=True)
    pen.text(45, 60.2, 'bound to one model; uuid, revision, frame', SMALL - 0.6, theme.faint)
    for row, (name, places) in enumerate((('session 1', 9), ('session 2', 7))):
        y = 63.6 + 3.6 * row
        pen.text(45, y, name, SMALL)
        for index in range(places):
            pen.axes.add_patch(
                Rectangle(
                    (54 + 2.3 * index, y - 1), 1.8, 2, color=theme.accent, zorder=4,
                    alpha=0.35 + 0.065 * index,
                )
            )  # fmt: skip
    pen.text(
        45, 73.4, 'a place: descriptor, thumbnail, local\nfeatures, stamp, camera, pose if known',
        SMALL - 0.6,
    )  # fmt: skip
    for index in (3, 4, 5):
        pen.arrow((centre(index), 53.7), (centre(index), BOTTOM + 0.3), colour=theme.accent)


def draw_outputs(pen: Pen) -> None:
    theme = pen.theme
    pen.box(88, 54, 24, 24)
    decide = centre(7)
    pen.arrow((decide, BOTTOM + 0.3), (decide, 53.7), colour=theme.ink)
    rows = (
        ('~/place_match', 'every image, with reason', theme.ink),
        ('~/loop_closure', 'accepted', theme.right),
        ('~/pose', 'accepted, place has one', theme.right),
    )
    for index, (name, when, colour) in enumerate(rows):
        y = 57 + 6.1 * index
        pen.text(90, y, name, MIDDLE, colour, bold=True)
        pen.text(90, y + 2.6, when, SMALL - 0.4, theme.faint)
    pen.text(90, 75.4, '~/status, /diagnostics', SMALL, theme.ink)
    pen.arrow((87.7, 66), (80.3, 66), colour=theme.accent)
    pen.text(84, 62.2, 'modes\nmap, both', TINY - 0.2, theme.accent, middle=True)
    pen.text(84, 69.4, 'some\nbecome\nplaces', TINY - 0.2, theme.accent, middle=True)


def centre(index: int) -> float:
    return LEFT + index * (STAGE + GAP) + STAGE / 2


if __name__ == '__main__':
    sys.exit(main())
