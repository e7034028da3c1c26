"""Which node of RTAB-Map was made of which image: it numbers them, closures have stamps."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable

from vpr_ros.nodes.outputs.messages import NS

LIMIT = 100_000  # nodes whose stamps are kept
FAR = 1000  # neighbours looked through for one that can be linked
LATEST_S = 2.0**31  # no later stamp fits a message
BACK_NS = NS  # stamps that go back further than this are those of another run


class NodeTable:
    """Stamps and numbers of RTAB-Map's nodes, and which of them it can link now."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.newest_ns: int | None = None  # stamp of the last image that RTAB-Map went through
        self.newest_id = 0
        self.linked: set[tuple[int, int]] = set()  # pairs of the last graph, smaller number first
        self._stamps: dict[int, int] = {}
        self._order: list[tuple[int, int]] = []  # stamp and number
        self._memory: set[int] = set()
        self._graph: set[int] = set()

    def __len__(self) -> int:
        return len(self._order)

    def processed(self, number: int, stamp_ns: int, memory: Iterable[int]) -> bool:
        """Take what `info` says of one image.

        Args:
            number: node of the image; 0: there is none.
            stamp_ns: of the image.
            memory: nodes that RTAB-Map can link; empty: it does not tell.

        Returns:
            False: numbers or stamps go back, as after a restart, so that all was forgotten first.
        """
        if number <= 0:
            return True
        newest_ns = stamp_ns if self.newest_ns is None else self.newest_ns
        goes_on = number >= self.newest_id and stamp_ns > newest_ns - BACK_NS
        if not goes_on:
            self.clear()
        self.newest_ns, self.newest_id = max(stamp_ns, self.newest_ns or stamp_ns), number
        self._memory = set(memory)
        self._put(number, stamp_ns)
        return goes_on

    def learn(self, nodes: Iterable[tuple[int, float, int]]) -> int:
        """Take numbers, stamps in seconds and weights, and tell how many nodes were new.

        Those of negative weight lie between others and are left out: a link to one ends RTAB-Map.
        """
        new = {
            number: round(stamp_s * NS)
            for number, stamp_s, weight in nodes
            if weight >= 0 and number > 0 and number not in self._stamps and 0 < stamp_s < LATEST_S
        }
        self._stamps |= new
        self._order = sorted((stamp, number) for number, stamp in self._stamps.items())
        self._bound()
        return len(new)

    def graph(self, numbers: Iterable[int], links: Iterable[tuple[int, int]]) -> None:
        """Take the graph as it is now."""
        self._graph = set(numbers)
        self.linked = {pair(*ends) for ends in links}

    def nearest(self, stamp_ns: int) -> tuple[int, int] | None:
        """Number and stamp of the node next to a stamp, of those that can be linked, if any.

        Of two with the same stamp the later one: a recording is played again.
        """
        at = bisect_left(self._order, (stamp_ns, 0))
        before = next(
            (x for x in reversed(self._order[max(0, at - FAR) : at]) if self.alive(x[1])), None
        )
        after = next((x for x in self._order[at : at + FAR] if self.alive(x[1])), None)
        around = [x for x in (before, after) if x]
        if not around:
            return None
        stamp, number = min(around, key=lambda x: (abs(x[0] - stamp_ns), -x[1]))
        return number, stamp

    def alive(self, number: int) -> bool:
        """Whether RTAB-Map can link a node, as far as it tells."""
        if self._memory:
            return number in self._memory
        return not self._graph or number in self._graph or number > max(self._graph)

    def _put(self, number: int, stamp_ns: int) -> None:
        old_ns = self._stamps.get(number)
        if old_ns == stamp_ns:
            return
        if old_ns is not None:  # said twice: the later word counts
            self._order.remove((old_ns, number))
        self._stamps[number] = stamp_ns
        insort(self._order, (stamp_ns, number))
        self._bound()

    def _bound(self) -> None:
        for _, number in self._order[:-LIMIT]:
            del self._stamps[number]
        del self._order[:-LIMIT]


def pair(one: int, other: int) -> tuple[int, int]:
    """The two ends of a link, whichever way it goes."""
    return (one, other) if one < other else (other, one)
