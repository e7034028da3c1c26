"""One call in a process of its own, so that nothing before it counts."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from vpr_ros.errors import WorkerError

Job = TypeVar('Job')
Answer = TypeVar('Answer')
Tell = Callable[[int], None]


def call_in_fresh_process(
    function: Callable[[Job, Tell], Answer], job: Job, tell: Tell = lambda done: None
) -> Answer:
    """Call a function in a process that ends with the call.

    Args:
        function: takes the job and what it tells its progress to; picklable, as the job.
        job: for it.
        tell: called here with what the function tells.

    Raises:
        WorkerError: the process died.
        Exception: what the function raises.
    """
    context = multiprocessing.get_context('spawn')  # a fork would carry this process's memory
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(there, function, job), daemon=True)
    with _interrupts_held():
        process.start()
    there.close()
    try:
        return _answer(here, tell)
    finally:
        process.terminate()
        process.join()
        here.close()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """A process that starts here never sees Ctrl-C, which would end its imports in a traceback."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _answer(pipe: Connection, tell: Tell) -> Any:
    while True:
        try:
            kind, value = pipe.recv()
        except (EOFError, OSError) as error:
            raise WorkerError(
                'the process ended before its work was done, for want of memory perhaps'
            ) from error
        if kind == 'done':
            tell(value)
        elif kind == 'error':
            raise value
        else:
            return value


def _serve(pipe: Connection, function: Callable[[Any, Tell], Any], job: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    try:
        pipe.send(('answer', function(job, lambda done: pipe.send(('done', done)))))
    except Exception as error:
        pipe.send(('error', error))
