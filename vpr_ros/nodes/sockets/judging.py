"""A whole graph judged in a process of its own: GTSAM holds the interpreter while it solves."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

from vpr_ros.config.graph import GraphConfig
from vpr_ros.evaluation.fresh_process import call_in_fresh_process
from vpr_ros.maps.pose_graph import Optimized, PoseGraph, optimize

NICER = 5  # than what drives the robot

Then = Callable[[Optimized], object]
Judge = Callable[[PoseGraph, GraphConfig, Then], bool]  # whether it was taken


def judge_here(graph: PoseGraph, config: GraphConfig, then: Then) -> bool:
    """A `Judge` that takes the time of its caller."""
    then(optimize(graph, config))
    return True


class Judging:
    """A `Judge` that takes one graph at a time and calls `then` in a thread of its own."""

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        """Begin idle; `failed` is told what goes wrong, and the closures stay as they are."""
        self._failed = failed
        self._busy = threading.Lock()

    def ask(self, graph: PoseGraph, config: GraphConfig, then: Then) -> bool:
        """The `Judge`."""
        if not self._busy.acquire(blocking=False):
            return False
        job = (graph, config), then
        threading.Thread(target=self._judge, args=job, name='judge', daemon=True).start()
        return True

    def _judge(self, job: tuple[PoseGraph, GraphConfig], then: Then) -> None:
        # Ctrl-C reaches the new process, too, which could not yet ignore it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        found = None
        try:
            found = call_in_fresh_process(_optimized, job)
        except Exception as error:
            self._failed(error)
        finally:
            self._busy.release()
        if found is not None:
            then(found)


def _optimized(job: tuple[PoseGraph, GraphConfig], tell: Callable[[int], None]) -> Optimized:
    os.nice(NICER)
    return optimize(*job)
