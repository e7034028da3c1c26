"""Which closures the graph of a drive takes, and what their senders are told. No node.

A closure enters at once where the graph expects it, and it goes on with one that is in, or its
place can be told from one that looks like it. Others wait, as runs: those whose place could not be
told, until it can or they are longer than any copy of a street; those that contradict the graph,
until they are enough for all closures to be judged together (`maps.pose_graph.optimize`, which may
take out what is in the graph). Every closure is answered, and again when its answer has changed.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from vpr_ros.config.graph import GraphConfig
from vpr_ros.maps.pose_graph import Edge, Optimized, PoseGraph, gate_chi2
from vpr_ros.maps.runs import FEWEST
from vpr_ros.nodes.sockets.closures import Answer, Closed, Closure
from vpr_ros.nodes.sockets.keyframe_graph import KeyframeGraph
from vpr_ros.nodes.sockets.quarantine import Look, Quarantine, Run, covered_m
from vpr_ros.records import Vector

Line = tuple[Vector, Vector]

REMEMBERED = 10_000  # closures whose answer can be given again
AGAIN = 3  # runs that are looked at again after a closure was taken
SHOWN = 100  # closures that were not taken, drawn
CHALLENGING = 30  # closures of each run that all are judged with


@dataclass(frozen=True)
class Question:
    """Closures in the graph and runs that contradict them, to be judged together."""

    graph: PoseGraph
    ids: list[int]  # of closures that were in the graph; they come first
    group: list[Run]  # the run that it is asked for, and those that agree with it
    long: bool  # they are longer than any copy


class DriveClosures:
    """The closures of one drive. One thread at a time."""

    def __init__(self, config: GraphConfig, graph: KeyframeGraph) -> None:
        """Begin a drive; the graph takes closures from here alone."""
        self._config, self._graph = config, graph
        self._limit = gate_chi2(config.gate_sigmas)
        self._waiting = Quarantine(graph.ways_m)
        self._told: OrderedDict[tuple[int, int], Answer] = OrderedDict()
        self._refused: deque[Closure] = deque(maxlen=SHOWN)
        self.question: Question | None = None  # what is worth being judged together

    def __len__(self) -> int:
        """Closures that wait."""
        return len(self._waiting.closures)

    def close(self, closure: Closure) -> list[Answer]:
        """Take a closure.

        Returns:
            What became of it, and then of earlier ones that are judged otherwise now.
        """
        before = self._told.get((closure.from_ns, closure.to_ns))
        if before is not None and before.closure_id == closure.id:
            return [before]
        if before is not None:
            same = f'the same two moments as closure {before.closure_id}'
            return [Answer(closure.id, False, same)]
        edge = self._graph.edge(closure)
        if isinstance(edge, str):
            return self._tell([closure], False, edge)
        last = {x.closure_id: x for x in self._judged(Closed(closure, edge))}
        return [last.pop(closure.id), *last.values()]

    def adopt(self, question: Question, found: Optimized) -> list[Answer]:
        """Take out what all together speak against, or believe runs that are too long to be false.

        Args:
            question: as asked, at any time before.
            found: what became of its graph.

        Returns:
            Answers to closures that are judged otherwise now.
        """
        robust = np.array([edge.robust for edge in question.graph.edges])
        kept = found.kept[robust].tolist()
        lost = {id_ for id_, keep in zip(question.ids, kept, strict=False) if not keep}
        fallen = [x.closure for x in self._graph.closed if x.closure.id in lost]
        group = [run for run in self._waiting if run in question.group]
        answers: list[Answer] = []
        if fallen:
            stamps = [node.stamp_ns for node in question.graph.nodes]
            self._graph.remove({x.id for x in fallen}, dict(zip(stamps, found.poses, strict=True)))
            answers = self._taken_out(fallen, 'closures that came later contradict it')
            answers += self._again(len(self._waiting))
        elif question.long and group:
            first = min(x.from_ns for run in group for x in run.closures)
            self._graph.distrust_odometry(first)
            answers = self._enter(group, 'so many in a row overrule odometry')
        return list({x.closure_id: x for x in answers}.values())

    def lines(self) -> tuple[list[Line], list[Line]]:
        """Both ends of the closures that were accepted, and of the last that were not."""
        refused = [*self._refused, *self._waiting.closures][-SHOWN:]
        return self._lines(x.closure for x in self._graph.closed), self._lines(refused)

    def _lines(self, closures: Iterable[Closure]) -> list[Line]:
        at = self._graph.at
        return [(at(x.from_ns).position_m, at(x.to_ns).position_m) for x in closures]

    def _judged(self, mine: Closed) -> list[Answer]:
        look = self._look(mine.edge)
        begins = self._waiting.run_before(mine.closure) is None and self._is_sure(look)
        if begins or self._graph.goes_on(mine.closure) and look.chi2 <= self._limit:
            words = f'an edge of the graph now: chi2 was {look.chi2:.0f}'
            return [*self._entered([mine], words), *self._again(AGAIN)]
        answers, run = self._tell_waiting([mine.closure], look), self._waiting.add(mine.closure)
        run.looks.append(look)
        if self._is_sure(self._look_at(run)):
            answers += self._enter([run], 'closures in a row with it agree')
            return [*answers, *self._again(AGAIN)]
        run.contradicts = run.contradicts or look.chi2 > self._limit
        answers += self._grown(run) if run.due() else []
        return [*answers, *self._give_up(self._waiting.given_up(), 'too many closures wait')]

    def _look(self, edge: Edge, through: Edge | None = None) -> Look:
        expected = self._graph.expected(edge, through)
        return Look(expected.squared_sigmas(edge.stated), self._graph.odds(edge, expected))

    def _look_at(self, run: Run) -> Look:
        """At some of its closures, once for each correction."""
        if run.version != self._graph.version:
            run.looks, run.version = self._looks(run), self._graph.version
        return _middle(run.looks)

    def _looks(self, run: Run, through: Edge | None = None) -> list[Look]:
        return [self._look(x.edge, through) for x in self._edges(run.some())]

    def _is_sure(self, look: Look) -> bool:
        return look.chi2 <= self._limit and look.odds >= self._config.look_alike_odds

    def _edges(self, closures: Iterable[Closure]) -> list[Closed]:
        """Those that are still within what is kept of odometry."""
        pairs = ((x, self._graph.edge(x)) for x in closures)
        return [Closed(x, edge) for x, edge in pairs if isinstance(edge, Edge)]

    def _grown(self, run: Run) -> list[Answer]:
        """A longer look at a run that has become longer."""
        group = self._agreeing(run)
        long = covered_m(group, self._graph.ways_m) > self._config.longest_copy_m
        if self._look_at(run).chi2 > self._limit:
            self.question = self._asked(group, long)
            return []
        if not long:
            return []
        return [*self._enter(group, 'so many in a row are no copy'), *self._again(AGAIN)]

    def _asked(self, group: list[Run], long: bool) -> Question:
        others = [x for x in self._waiting if x.contradicts and len(x) >= FEWEST]
        runs = {id(x): x for x in (*others, *group)}.values()
        believed, driven = self._graph.closed, self._graph.as_driven()
        against = [x for run in runs for x in self._edges(run.some(CHALLENGING))]
        edges = [*driven.edges, *(x.edge for x in (*believed, *against))]
        ids = [x.closure.id for x in believed]
        return Question(PoseGraph(driven.nodes, edges), ids, group, long)

    def _agreeing(self, run: Run) -> list[Run]:
        """The run, and those that would be sure if it were believed."""
        middle = self._edges([run.closures[len(run) // 2]])
        if not middle:
            return [run]
        edge = middle[0].edge
        others = [x for x in self._waiting if x is not run and len(x) >= FEWEST]
        return [run, *(x for x in others if self._is_sure(_middle(self._looks(x, edge))))]

    def _enter(self, runs: Iterable[Run], words: str) -> list[Answer]:
        """Move runs from those that wait into the graph."""
        closures = [x for run in runs for x in self._waiting.take(run)]
        new = self._edges(closures)
        found = {x.closure.id for x in new}
        lost = [x for x in closures if x.id not in found]
        answers = self._give_up(lost, 'its odometry is not kept any more')
        return [*answers, *self._entered(new, words, pull=len(new) > 1)]

    def _entered(self, new: Sequence[Closed], words: str, pull: bool = False) -> list[Answer]:
        try:
            self._graph.admit(new, pull)
        except RuntimeError as error:  # of gtsam
            spoilt = f'the graph cannot be solved with it: {_first(error)}'
            return self._taken_out([x.closure for x in new], spoilt)
        answers = self._tell([x.closure for x in new], True, words)
        far = self._graph.strained() > self._limit
        out = [x.closure for x, is_far in zip(self._graph.closed, far, strict=True) if is_far]
        if out:
            self._graph.remove({x.id for x in out})
        return [*answers, *self._taken_out(out, 'it does not fit the closures that came with it')]

    def _again(self, most: int) -> list[Answer]:
        """Look at runs that wait; the graph has changed."""
        answers: list[Answer] = []
        for run in self._waiting.turn(most):
            look = self._look_at(run)
            contradicts = look.chi2 > self._limit
            if self._is_sure(look):
                answers += self._enter([run], 'the closures before it tell its place now')
            elif run.contradicts is not contradicts:
                run.contradicts = contradicts
                answers += self._tell_waiting(run.closures, look)
        return answers

    def _taken_out(self, closures: Sequence[Closure], words: str) -> list[Answer]:
        self._refused += closures
        return self._tell(closures, False, f'taken out again: {words}')

    def _give_up(self, closures: Iterable[Closure], words: str) -> list[Answer]:
        """Tell those that were promised an answer."""
        keys = [((x.from_ns, x.to_ns), x) for x in closures]
        left = [x for key, x in keys if key in self._told and self._told[key].pending]
        return self._tell(left, False, f'it was never decided: {words}')

    def _tell_waiting(self, closures: Iterable[Closure], look: Look) -> list[Answer]:
        if look.chi2 > self._limit:
            against = f'it contradicts odometry and the closures before: chi2 is {look.chi2:.0f}'
            return self._tell(closures, False, f'{against}, the gate is at {self._limit:.0f}')
        words = (
            'it waits, as another place could look like it: odometry fits it '
            f'{look.odds:.1f} times better than another, look_alike_odds asks for '
            f'{self._config.look_alike_odds:g}'
        )
        return self._tell(closures, False, words, pending=True)

    def _tell(
        self, closures: Iterable[Closure], accepted: bool, reason: str, pending: bool = False
    ) -> list[Answer]:
        answers = {(x.from_ns, x.to_ns): Answer(x.id, accepted, reason, pending) for x in closures}
        self._told |= answers
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        return list(answers.values())


def _middle(looks: Sequence[Look]) -> Look:
    """Both medians; of none, one that is not believed."""
    if not looks:
        return Look(np.inf, 0.0)
    chi2, odds = np.median([(x.chi2, x.odds) for x in looks], axis=0).tolist()
    return Look(chi2, odds)


def _first(error: RuntimeError) -> str:
    return (str(error).strip().splitlines() or ['gtsam gave up'])[0]
