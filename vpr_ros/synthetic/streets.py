"""The plan of the town: an irregular net of streets and the blocks between them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vpr_ros.errors import ConfigError

RUN = 3  # look-alike blocks lie in runs, so that whole streets between them look alike


@dataclass(frozen=True)
class Street:
    """A straight piece of street between two crossings."""

    start: int
    end: int
    half_road_m: float
    pavement_m: float


@dataclass(frozen=True)
class Block:
    """A piece of land between streets; its corners run counter-clockwise."""

    corners: tuple[int, ...]
    streets: tuple[int, ...]  # streets[k] joins corners[k] and corners[k + 1]
    template: int | None = None  # blocks of one template look alike
    park: bool = False
    ring: bool = False  # the land around the town: its corners run clockwise


@dataclass(frozen=True)
class Plan:
    """Crossings (N, 2) in metres, streets between them, blocks between those."""

    crossings_m: np.ndarray
    streets: list[Street]
    blocks: list[Block]

    def neighbours(self) -> dict[int, list[int]]:
        """Crossings that can be reached from each crossing without passing another."""
        reached: dict[int, list[int]] = {i: [] for i in range(len(self.crossings_m))}
        for street in self.streets:
            reached[street.start].append(street.end)
            reached[street.end].append(street.start)
        return reached

    def outline(self, block: Block) -> np.ndarray:
        """Line of the facades around a block (K, 2) in metres, counter-clockwise."""
        set_back = [
            self.streets[s].half_road_m + self.streets[s].pavement_m for s in block.streets
        ]
        return inset(self.crossings_m[list(block.corners)], np.array(set_back))


def inset(polygon: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Move each edge of a counter-clockwise polygon (K, 2) inwards by its distance (K,)."""
    along = np.roll(polygon, -1, axis=0) - polygon
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    inward = np.stack([-along[:, 1], along[:, 0]], axis=1)
    moved = np.empty_like(polygon)
    for k in range(len(polygon)):
        rows = inward[[k - 1, k]]
        reach = rows @ polygon[k] + distances[[k - 1, k]]
        if abs(np.linalg.det(rows)) > 0.1:
            moved[k] = np.linalg.solve(rows, reach)
        else:  # nearly straight on: the two lines do not meet in a useful point
            moved[k] = polygon[k] + inward[k] * distances[[k - 1, k]].max()
    return moved


@dataclass
class _Grid:
    """The regular net from which the plan is bent, merged and cut."""

    rows: int
    columns: int
    aliased: dict[tuple[int, int], int] = field(default_factory=dict)

    def node(self, row: int, column: int) -> int:
        return row * (self.columns + 1) + column

    def corners(self, row: int, column: int, width: int = 1) -> list[int]:
        """Corners of a block, or of `width` blocks side by side, counter-clockwise."""
        south = [self.node(row, c) for c in range(column, column + width + 1)]
        north = [self.node(row + 1, c) for c in range(column + width, column - 1, -1)]
        return south + north

    def border(self) -> list[int]:
        """Crossings around the town, clockwise."""
        south = [self.node(0, c) for c in range(self.columns)]
        east = [self.node(r, self.columns) for r in range(self.rows)]
        north = [self.node(self.rows, c) for c in range(self.columns, 0, -1)]
        west = [self.node(r, 0) for r in range(self.rows, 0, -1)]
        return (south + east + north + west)[::-1]


def _choose_aliased(grid: _Grid, groups: int) -> None:
    """Place vertical runs of look-alike blocks, as far apart as the net allows."""
    if grid.rows < RUN:
        return
    columns = np.linspace(0, grid.columns - 1, groups + 2)[1:-1].round().astype(int)
    for template, column in enumerate(dict.fromkeys(columns.tolist())):
        first = (template * 2 + (grid.rows - RUN) // 2) % (grid.rows - RUN + 1)
        for row in range(first, first + RUN):
            grid.aliased[row, column] = template
    for template in range(len(set(grid.aliased.values())), groups):
        _add_run(grid, template)


def _add_run(grid: _Grid, template: int) -> None:
    """Place one more run where the fewest blocks of the column look alike; none if it is full."""
    taken = [sum(c == column for _, c in grid.aliased) for column in range(grid.columns)]
    for column in sorted(range(grid.columns), key=taken.__getitem__):
        for first in range((template + column) % 2, grid.rows - RUN + 1):
            run = [(row, column) for row in range(first, first + RUN)]
            if not any(place in grid.aliased for place in run):
                grid.aliased.update(dict.fromkeys(run, template))
                return


def _crossings(grid: _Grid, rng: np.random.Generator) -> np.ndarray:
    """Bend the net, but leave the corners of look-alike blocks where they are."""
    widths = rng.uniform(58.0, 92.0, grid.columns)
    heights = rng.uniform(52.0, 84.0, grid.rows)
    for template in set(grid.aliased.values()):
        rows = [row for (row, _), t in grid.aliased.items() if t == template]
        heights[rows] = heights[rows[0]]
    if grid.aliased:  # one height wherever two runs overlap
        rows = sorted({row for row, _ in grid.aliased})
        heights[rows] = heights[rows[0]]
    x = np.concatenate([[0.0], np.cumsum(widths)])
    y = np.concatenate([[0.0], np.cumsum(heights)])
    crossings = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    bend = rng.normal(0.0, 5.0, crossings.shape).clip(-9.0, 9.0)
    for row, column in grid.aliased:
        bend[grid.corners(row, column)] = 0.0
    return crossings + bend


def _widths(grid: _Grid, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Half width of the road on each line of the net: lanes, streets and avenues."""
    kinds = np.array([3.4, 4.5, 5.0, 6.4])
    across = rng.choice(kinds, grid.rows + 1, p=[0.25, 0.35, 0.25, 0.15])
    along = rng.choice(kinds, grid.columns + 1, p=[0.25, 0.35, 0.25, 0.15])
    for row, column in grid.aliased:
        across[row : row + 2] = 4.5
        along[column : column + 2] = 5.0
    return {'across': across, 'along': along}


def _block_corners(grid: _Grid, rng: np.random.Generator) -> list[tuple[list[int], int | None]]:
    """Corners and template of every block; some blocks are two in one, some cut in two."""
    left = {(r, c) for r in range(grid.rows) for c in range(grid.columns)}
    shapes: list[tuple[list[int], int | None]] = []
    for place, template in grid.aliased.items():
        shapes.append((grid.corners(*place), template))
        left.discard(place)
    order = [sorted(left)[i] for i in rng.permutation(len(left))]
    merged = cut = 0
    for row, column in order:
        if (row, column) not in left:
            continue
        left.discard((row, column))
        corners = grid.corners(row, column)
        if merged < len(order) // 7 and (row, column + 1) in left:
            left.discard((row, column + 1))
            shapes.append((grid.corners(row, column, 2), None))
            merged += 1
        elif cut < len(order) // 12:
            a, b, c, d = corners
            shapes += [([a, b, c], None), ([a, c, d], None)]
            cut += 1
        else:
            shapes.append((corners, None))
    return shapes


def plan_town(rng: np.random.Generator, blocks: tuple[int, int] = (6, 6), groups: int = 2) -> Plan:
    """Lay out a town of about `blocks` (rows, columns) with `groups` of look-alike blocks.

    Raises:
        ConfigError: fewer than 2 x 2 blocks.
    """
    if min(blocks) < 2:
        raise ConfigError(f'a town needs at least 2 x 2 blocks, found {blocks[0]} x {blocks[1]}')
    grid = _Grid(*blocks)
    _choose_aliased(grid, groups)
    crossings = _crossings(grid, rng)
    widths = _widths(grid, rng)
    shapes = _block_corners(grid, rng)
    streets: list[Street] = []
    numbers: dict[tuple[int, int], int] = {}
    made: list[Block] = []
    parks = rng.permutation(len(shapes))
    for number, (corners, template) in enumerate(shapes):
        ends = list(zip(corners, corners[1:] + corners[:1], strict=True))
        for start, end in ends:
            key = (min(start, end), max(start, end))
            if key not in numbers:
                numbers[key] = len(streets)
                streets.append(_street(grid, widths, *key))
        sides = tuple(numbers[min(pair), max(pair)] for pair in ends)
        park = template is None and parks[number] < max(1, len(shapes) // 14)
        made.append(Block(tuple(corners), sides, template, bool(park)))
    border = grid.border()
    ends = list(zip(border, border[1:] + border[:1], strict=True))
    sides = tuple(numbers[min(pair), max(pair)] for pair in ends)
    return Plan(crossings, streets, [*made, Block(tuple(border), sides, ring=True)])


def _street(grid: _Grid, widths: dict[str, np.ndarray], start: int, end: int) -> Street:
    row, column = divmod(start, grid.columns + 1)
    half = {1: widths['across'][row], grid.columns + 1: widths['along'][column]}
    half_road = float(half.get(end - start, 3.6))
    return Street(start, end, half_road, 3.4 if half_road > 6.0 else 2.5)
