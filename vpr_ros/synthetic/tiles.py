"""Windows, doors, balconies and shop fronts: the cells of which facades are put together."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np

SIZE = 128
DRAWN = 256  # drawn at twice the size, then averaged

Colour = tuple[float, float, float]

FRAMES: list[Colour] = [
    (240, 240, 236), (235, 228, 210), (70, 52, 40), (46, 50, 56), (52, 78, 66), (110, 74, 48),
]  # fmt: skip
SHUTTERS: list[Colour] = [
    (52, 92, 74),
    (60, 88, 120),
    (122, 58, 48),
    (96, 78, 60),
    (150, 160, 150),
]
SIGNS: list[Colour] = [
    (150, 32, 36), (26, 72, 48), (28, 52, 104), (38, 38, 42), (196, 140, 36), (110, 48, 96),
    (222, 214, 196), (30, 108, 116), (176, 84, 40),
]  # fmt: skip
WORDS = (
    'BAKERY', 'CAFE LUNA', 'BOOKS', 'FLORA', 'MARKET', 'OPTIC', 'ROSSI', 'HOTEL', 'CYCLES', 'TEA',
    'VINOTECA', 'KIOSK', 'RADIO', 'MODA', 'ARTE', 'TAILOR', 'PHARMACY', 'PIZZA', 'BARBER', 'SHOES',
    'CINEMA', 'BANK', 'TOYS', 'GALERIE', 'LAUNDRY', 'PIANOS', 'SUSHI', 'ANTIQUES', 'POST', 'SALON',
)  # fmt: skip


@dataclass
class Cell:
    """One bay of one floor: colour, cover over the wall and glass, each (D, D[, 3]) float32."""

    rgb: np.ndarray = field(default_factory=lambda: np.zeros((DRAWN, DRAWN, 3), np.float32))
    cover: np.ndarray = field(default_factory=lambda: np.zeros((DRAWN, DRAWN), np.float32))
    glass: np.ndarray = field(default_factory=lambda: np.zeros((DRAWN, DRAWN), np.float32))

    def rectangle(
        self, x0: float, y0: float, x1: float, y1: float, colour: Colour, glass: float = 0.0
    ) -> None:
        """Fill a rectangle given in fractions of the cell, y downwards."""
        rows = slice(round(y0 * DRAWN), round(y1 * DRAWN))
        columns = slice(round(x0 * DRAWN), round(x1 * DRAWN))
        self.rgb[rows, columns] = colour
        self.cover[rows, columns] = 1.0
        self.glass[rows, columns] = glass

    def round_top(self, x0: float, x1: float, y0: float, rise: float) -> None:
        """Give the wall back above an arch that springs at `y0 + rise`."""
        columns = np.arange(round(x0 * DRAWN), round(x1 * DRAWN))
        middle, half = (x0 + x1) / 2 * DRAWN, (x1 - x0) / 2 * DRAWN
        arc = np.sqrt(np.clip(1 - ((columns + 0.5 - middle) / half) ** 2, 0, 1))
        top = (y0 + rise * (1 - arc)) * DRAWN
        outside = np.arange(DRAWN)[:, None] < top[None, :]
        outside &= np.arange(DRAWN)[:, None] >= round(y0 * DRAWN)
        self.cover[:, columns] *= ~outside
        self.glass[:, columns] *= ~outside

    def finished(self) -> np.ndarray:
        """The cell as (S, S, 5) uint8: red, green, blue, cover, glass."""
        weight = np.maximum(self.cover, 1e-3)[..., None]
        layers = np.dstack([self.rgb * weight, weight, 255 * self.glass])
        small = cv2.resize(layers, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        small[..., :3] = small[..., :3] / small[..., 3:4]
        small[..., 3] *= 255
        return np.clip(small + 0.5, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class WindowStyle:
    """What the windows of one building have in common; lengths in fractions of a cell."""

    width: float
    height: float
    frame: Colour
    bars: tuple[int, int]  # vertical, horizontal
    arch: float
    surround: float
    trim: Colour
    shutters: Colour | None
    course: bool

    @classmethod
    def random(cls, rng: np.random.Generator) -> WindowStyle:
        wide = rng.random() < 0.25
        trim = (225.0, 220.0, 208.0) if rng.random() < 0.6 else (150.0, 140.0, 128.0)
        shutters = SHUTTERS[rng.integers(len(SHUTTERS))] if rng.random() < 0.3 else None
        return cls(
            width=rng.uniform(0.62, 0.84) if wide else rng.uniform(0.36, 0.48),
            height=rng.uniform(0.44, 0.55) if wide else rng.uniform(0.52, 0.66),
            frame=FRAMES[rng.integers(len(FRAMES))],
            bars=(
                int(rng.integers(1, 4)) if wide else int(rng.integers(0, 2)),
                int(rng.integers(3)),
            ),
            arch=0.0 if wide or rng.random() < 0.7 else rng.uniform(0.06, 0.16),
            surround=0.0 if rng.random() < 0.4 else rng.uniform(0.03, 0.055),
            trim=trim,
            shutters=None if wide else shutters,
            course=rng.random() < 0.4,
        )


def draw_window(style: WindowStyle, rng: np.random.Generator, french: bool = False) -> np.ndarray:
    """One window with its frame, glass, curtains, sill and shutters."""
    cell = Cell()
    x0, x1 = 0.5 - style.width / 2, 0.5 + style.width / 2
    y0, y1 = 0.16, 0.97 if french else min(0.16 + style.height, 0.86)
    if style.course:
        cell.rectangle(0.0, 0.965, 1.0, 1.0, style.trim)
    edge = style.surround
    if edge:
        cell.rectangle(x0 - edge, y0 - 1.3 * edge, x1 + edge, y1 + edge, style.trim)
        cell.rectangle(x0 - 1.6 * edge, y0 - 2 * edge, x1 + 1.6 * edge, y0 - edge, style.trim)
        if style.arch:
            cell.round_top(x0 - 1.6 * edge, x1 + 1.6 * edge, y0 - 2 * edge, style.arch)
    if style.shutters:
        r, g, b = style.shutters
        for left in (x0 - style.width / 2 - 0.01, x1 + 0.01):
            right = left + style.width / 2
            cell.rectangle(max(left, 0), y0, min(right, 1), y1, style.shutters)
            for y in np.arange(y0 + 0.03, y1 - 0.02, 0.035):
                cell.rectangle(
                    max(left, 0) + 0.02,
                    y,
                    min(right, 1) - 0.02,
                    y + 0.012,
                    (0.75 * r, 0.75 * g, 0.75 * b),
                )
    cell.rectangle(x0, y0, x1, y1, (52, 50, 48))
    _glaze(cell, x0 + 0.012, y0 + 0.03, x1 - 0.012, y1, style, rng)
    if style.arch:
        covered = cell.cover.copy()
        cell.round_top(x0, x1, y0, style.arch)
        if edge:
            lost = (covered > 0) & (cell.cover == 0)
            cell.rgb[lost], cell.cover[lost] = style.trim, 1.0
    if not french:
        cell.rectangle(x0 - 0.035, y1, x1 + 0.035, y1 + 0.03, style.trim)
        cell.rectangle(x0 - 0.03, y1 + 0.03, x1 + 0.03, y1 + 0.042, (84, 80, 76))
    return cell.finished()


def _glaze(
    cell: Cell,
    x0: float,
    y0: float,
    x1: float,
    y1: float,
    style: WindowStyle,
    rng: np.random.Generator,
) -> None:
    """Frame, panes and what hangs behind them."""
    bar = 0.022
    cell.rectangle(x0, y0, x1, y1, style.frame)
    xs = np.linspace(x0 + bar, x1, style.bars[0] + 2)
    ys = np.linspace(y0 + bar, y1, style.bars[1] + 2)
    tone = rng.uniform(20, 48)
    inside: Colour = (tone, tone * 1.05, tone * 1.12)
    cloth = rng.choice([225.0, 205.0, 180.0]) * np.array([1.0, 0.97, rng.uniform(0.82, 0.95)])
    blind = y0 + (y1 - y0) * rng.choice([0.0, 0.0, 0.3, 0.55])
    drape = (x1 - x0) * rng.choice([0.0, 0.12, 0.22, 0.3])
    for left, right in zip(xs[:-1], xs[1:] - bar, strict=True):
        for top, bottom in zip(ys[:-1], ys[1:] - bar, strict=True):
            cell.rectangle(left, top, right, bottom, inside, glass=1.0)
    hung = np.zeros((DRAWN, DRAWN), bool)
    hung[: round(blind * DRAWN)] = True
    hung[:, : round((x0 + drape) * DRAWN)] = True
    hung[:, round((x1 - drape) * DRAWN) :] = True
    hung &= cell.glass > 0.9
    folds = 0.9 + 0.1 * np.sin(np.arange(DRAWN) / 3.0)
    cell.rgb[hung] = (cloth[None, None] * folds[None, :, None] * 0.72).repeat(DRAWN, 0)[hung]
    cell.glass[hung] = 0.6


def draw_door(rng: np.random.Generator, trim: Colour) -> np.ndarray:
    """A house door with panels, a fanlight and one or two steps."""
    cell = Cell()
    x0, x1 = (0.27, 0.73) if rng.random() < 0.6 else (0.34, 0.66)
    paint = np.array(SIGNS[rng.integers(len(SIGNS))]) * rng.uniform(0.5, 0.9)
    cell.rectangle(x0 - 0.06, 0.2, x1 + 0.06, 1.0, trim)
    cell.rectangle(x0, 0.25, x1, 1.0, (40, 36, 34))
    cell.rectangle(x0 + 0.02, 0.26, x1 - 0.02, 0.38, (60, 66, 72), glass=1.0)
    cell.rectangle(x0 + 0.02, 0.41, x1 - 0.02, 0.97, tuple(paint))
    middle = (x0 + x1) / 2
    for left, right in ((x0 + 0.05, middle - 0.02), (middle + 0.02, x1 - 0.05)):
        cell.rectangle(left, 0.46, right, 0.64, tuple(0.75 * paint))
        cell.rectangle(left, 0.69, right, 0.92, tuple(0.75 * paint))
    cell.rectangle(middle - 0.004, 0.41, middle + 0.004, 0.97, tuple(0.5 * paint))
    cell.rectangle(x0 - 0.08, 0.965, x1 + 0.08, 1.0, (128, 124, 118))
    return cell.finished()


def draw_garage(rng: np.random.Generator) -> np.ndarray:
    """A closed garage door with horizontal slats."""
    cell = Cell()
    paint = np.array(FRAMES[rng.integers(len(FRAMES))]) * 0.8
    cell.rectangle(0.06, 0.26, 0.94, 1.0, tuple(0.6 * paint))
    for y in np.arange(0.28, 0.99, 0.06):
        cell.rectangle(0.08, y, 0.92, y + 0.05, tuple(paint))
    return cell.finished()


def _sign(word: str, paint: Colour, ink: Colour) -> np.ndarray:
    """The board over a shop (H, 2 D, 3), two bays wide."""
    board = np.full((round(0.2 * DRAWN), 2 * DRAWN, 3), paint, np.uint8)
    font = cv2.FONT_HERSHEY_DUPLEX
    (width, height), _ = cv2.getTextSize(word, font, 1.0, 2)
    scale = min(0.84 * board.shape[1] / width, 0.62 * board.shape[0] / height)
    x, y = (board.shape[1] - scale * width) / 2, (board.shape[0] + scale * height) / 2
    cv2.putText(board, word, (round(x), round(y)), font, scale, ink, 3, cv2.LINE_AA)
    return board


def draw_stripes() -> np.ndarray:
    """Half white, half the tint of the wall: the cloth of an awning."""
    cell = Cell()
    cell.rectangle(0.0, 0.0, 0.5, 1.0, (236, 230, 218))
    return cell.finished()


def draw_railing() -> np.ndarray:
    """Bars of a balcony before the tint of the wall behind it."""
    cell, iron = Cell(), (44.0, 45.0, 48.0)
    for x in np.arange(0.02, 0.97, 0.075):
        cell.rectangle(x, 0.0, x + 0.026, 1.0, iron)
    cell.rectangle(0.0, 0.0, 1.0, 0.07, iron)
    cell.rectangle(0.0, 0.80, 1.0, 0.85, iron)
    cell.rectangle(0.0, 0.87, 1.0, 1.0, (172, 168, 160))
    return cell.finished()


def draw_shop(rng: np.random.Generator) -> list[np.ndarray]:
    """A shop front two bays wide, as its left and right cell."""
    paint = SIGNS[rng.integers(len(SIGNS))]
    ink: Colour = (40, 36, 34) if sum(paint) > 420 else (245, 238, 220)
    sign = _sign(WORDS[rng.integers(len(WORDS))], paint, ink)
    glow = rng.uniform(90, 190) * np.array([1.0, 0.9, 0.72])
    cells = []
    for side in range(2):
        cell = Cell()
        cell.rectangle(0.0, 0.06, 1.0, 1.0, tuple(0.7 * np.array(paint)))
        cell.rectangle(0.03, 0.33, 0.97, 0.84, (46, 48, 50), glass=1.0)
        for x in np.arange(0.06, 0.9, 0.08):  # goods on display
            height, tone = rng.uniform(0.05, 0.3), rng.uniform(0.2, 1.0, 3)
            cell.rectangle(
                x, 0.83 - height, x + rng.uniform(0.03, 0.08), 0.83, tuple(glow * tone), 0.7
            )
        if side == rng.integers(2):
            cell.rectangle(0.32, 0.33, 0.7, 0.99, tuple(0.5 * np.array(paint)))
            cell.rectangle(0.36, 0.36, 0.66, 0.95, (50, 52, 54), glass=1.0)
        band = slice(round(0.09 * DRAWN), round(0.09 * DRAWN) + len(sign))
        cell.rgb[band] = sign[:, side * DRAWN : (side + 1) * DRAWN]
        cell.cover[band], cell.glass[band] = 1.0, 0.0
        cell.rectangle(0.0, 0.06, 1.0, 0.085, tuple(0.5 * np.array(paint)))
        cells.append(cell.finished())
    return cells


@dataclass(frozen=True)
class TileSet:
    """All cells (K, S, S, 5) and which of them go together; indices into the first axis."""

    cells: np.ndarray = field(repr=False)
    windows: list[list[int]]  # one list of variants for each style
    french: list[list[int]]
    doors: list[int]
    garages: list[int]
    shops: list[list[int]]  # left, right


EMPTY, STRIPES, RAILING = range(3)


def draw_tiles(rng: np.random.Generator, styles: int = 16, shops: int = 24) -> TileSet:
    """Draw all cells of a town; `EMPTY`, `STRIPES` and `RAILING` come first."""
    cells = [Cell().finished(), draw_stripes(), draw_railing()]

    def keep(drawn: list[np.ndarray]) -> list[int]:
        cells.extend(drawn)
        return list(range(len(cells) - len(drawn), len(cells)))

    looks = [WindowStyle.random(rng) for _ in range(styles)]
    windows = [keep([draw_window(look, rng) for _ in range(3)]) for look in looks]
    tall = [replace(look, shutters=None) for look in looks]
    french = [keep([draw_window(look, rng, french=True)]) for look in tall]
    doors = keep([draw_door(rng, looks[i % styles].trim) for i in range(10)])
    garages = keep([draw_garage(rng) for _ in range(4)])
    fronts = [keep(draw_shop(rng)) for _ in range(shops)]
    return TileSet(np.stack(cells), windows, french, doors, garages, fronts)
