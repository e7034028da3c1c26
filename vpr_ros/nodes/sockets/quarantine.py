"""Closures that are not in the graph, as the runs that they make."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from vpr_ros.maps.runs import FEWEST, ROW_M, in_a_row
from vpr_ros.nodes.sockets.closures import Closure

HELD = 1000  # closures; the oldest runs are given up for more
GROWN = 1.5  # a run that is so many times longer than when it was last looked at is worth a look
SAMPLED = 5  # closures that speak for a run

Ways = Callable[[list[Closure]], np.ndarray]  # way up to the newer and older end, (n, 2)


@dataclass(frozen=True, slots=True)
class Look:
    """What the graph says of a closure, or of the middle one of several."""

    chi2: float  # squared sigmas from what is expected
    odds: float  # `maps.look_alikes.look_alike_odds`


@dataclass(eq=False)
class Run:
    """Closures in a row; `contradicts` is what was last told: that the graph speaks against it."""

    closures: list[Closure] = field(default_factory=list)
    contradicts: bool = False
    looked_at: int = 0  # how many there were when it was last looked at as a whole
    looks: list[Look] = field(default_factory=list)  # at some of them
    version: int = -1  # of the graph, in which `looks` hold

    def __len__(self) -> int:
        return len(self.closures)

    def due(self) -> bool:
        """Whether it has grown enough for another look; it counts as looked at then."""
        if len(self) < max(FEWEST, GROWN * self.looked_at):
            return False
        self.looked_at = len(self)
        return True

    def some(self, most: int = SAMPLED) -> list[Closure]:
        """Of its closures, evenly."""
        rows = np.unique(np.linspace(0, len(self) - 1, most).round().astype(int))
        return [self.closures[row] for row in rows]


def covered_m(runs: Iterable[Run], ways_m: Ways) -> float:
    """Way that runs cover together, gaps not counted, at the end where it is less."""
    at = np.sort(ways_m([x for run in runs for x in run.closures]), axis=0)
    steps = np.diff(at, axis=0)
    return float(np.where(steps <= ROW_M, steps, 0.0).sum(axis=0).min())


class Quarantine:
    """Runs of closures that wait; each closure is in one of them."""

    def __init__(self, ways_m: Ways) -> None:
        self._ways_m = ways_m
        self._runs: list[Run] = []

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(tuple(self._runs))

    @property
    def closures(self) -> list[Closure]:
        return [x for run in self._runs for x in run.closures]

    def run_before(self, closure: Closure) -> Run | None:
        """The run that a closure goes on with."""
        held = [(run, x) for run in self._runs for x in run.closures]
        ways = self._ways_m([closure, *(x for _, x in held)])
        row = in_a_row(ways[0], ways[1:])
        return None if row is None else held[row][0]

    def add(self, closure: Closure) -> Run:
        """Take a closure; returns its run, with it."""
        run = self.run_before(closure)
        if run is None:
            run = Run()
            self._runs.append(run)
        run.closures.append(closure)
        return run

    def take(self, run: Run) -> list[Closure]:
        """Forget a run; returns what was in it."""
        self._runs.remove(run)
        return run.closures

    def turn(self, most: int) -> list[Run]:
        """So many runs at most, others the next time."""
        first = self._runs[:most]
        self._runs = self._runs[most:] + first
        return first

    def given_up(self) -> list[Closure]:
        """Forget the oldest runs while there are more closures than may be held."""
        gone: list[Closure] = []
        while len(self.closures) > HELD:
            gone += self.take(min(self._runs, key=lambda run: run.closures[-1].from_ns))
        return gone
