"""Work shared out to processes, with answers in the order of the questions."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import cv2

from vpr_ros.errors import WorkerError

Job = TypeVar('Job')
Answer = TypeVar('Answer')

AHEAD = 2  # jobs that wait at each worker


def ordered_map(
    function: Callable[[Job], Answer], jobs: Iterable[Job], workers: int | None = None
) -> Iterator[Answer]:
    """Apply a function to jobs in `workers` processes (None: one per core; 1: in this one).

    At most `AHEAD` jobs per worker are under way, so memory is bounded; job i goes to worker
    i modulo their number. Both function and jobs must be picklable.

    Raises:
        WorkerError: a worker died.
    """
    count = workers or len(os.sched_getaffinity(0))
    if count == 1:
        yield from map(function, jobs)
        return
    # Not forked: the parent may hold threads of torch, DDS or OpenCV, which do not survive it.
    context = multiprocessing.get_context('spawn')
    pipes, processes = [], []
    try:
        for _ in range(count):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(function, there), daemon=True)
            process.start()
            there.close()
            pipes.append(here)
            processes.append(process)
        yield from _in_turn(pipes, jobs)
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.terminate()
            process.join()


def _in_turn(pipes: list[Connection], jobs: Iterable[Any]) -> Iterator[Any]:
    waiting: deque[Connection] = deque()
    for number, job in enumerate(jobs):
        if len(waiting) == AHEAD * len(pipes):
            yield _answer(waiting.popleft())
        pipe = pipes[number % len(pipes)]
        with _alive():
            pipe.send(job)
        waiting.append(pipe)
    while waiting:
        yield _answer(waiting.popleft())


def _answer(pipe: Connection) -> Any:
    with _alive():
        answer, error = pipe.recv()
    if error is not None:
        raise error
    return answer


@contextmanager
def _alive() -> Iterator[None]:
    """Say in one sentence that the process at the other end of a pipe is gone."""
    try:
        yield
    except (EOFError, OSError) as error:
        raise WorkerError(
            'a worker process ended before its work was done, for want of memory perhaps; '
            'use fewer workers'
        ) from error


def _serve(function: Callable[[Job], Answer], pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    cv2.setNumThreads(1)
    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            pipe.send((function(job), None))
        except (BrokenPipeError, ConnectionResetError):
            return
        except Exception as error:
            pipe.send((None, error))
