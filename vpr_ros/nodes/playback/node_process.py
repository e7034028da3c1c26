"""The live node as a process of its own: started, watched and stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import vpr_ros
from vpr_ros.errors import RosError

MODULE = 'vpr_ros.nodes.place_recognition'
STOP_TIMEOUT_S = 30.0


class NodeProcess:
    """A running node whose log goes to a file."""

    def __init__(self, process: subprocess.Popen, log: Path) -> None:
        self.log = log
        self.process = process

    def check(self) -> None:
        """Make sure that the node is alive.

        Raises:
            RosError: it has ended; with the last error it logged.
        """
        code = self.process.poll()
        if code is not None:
            raise RosError(f'the node ended with exit code {code}: {self.last_error()}')

    def last_error(self) -> str:
        """The last line of the log that tells an error, or the last line."""
        lines = self.log.read_text(encoding='utf-8', errors='replace').splitlines() or [
            'no output'
        ]
        errors = [line for line in lines if '[ERROR]' in line]
        return (errors or lines)[-1].rpartition(']: ')[-1]

    def stop(self) -> int:
        """End the node as Ctrl-C does, by force if need be, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@contextmanager
def node_process(
    arguments: list[str], environment: Mapping[str, str], log: Path
) -> Iterator[NodeProcess]:
    """Run the node `place_recognition` until the block is left.

    Args:
        arguments: after `--ros-args`.
        environment: of the process.
        log: file for what the node says.
    """
    # The same sources as here, also where the package is not installed.
    sources = [str(Path(vpr_ros.__file__).parents[1]), environment.get('PYTHONPATH', '')]
    environment = {**environment, 'PYTHONPATH': os.pathsep.join(filter(None, sources))}
    command = [sys.executable, '-m', MODULE, '--ros-args', *arguments]
    with log.open('wb') as file:
        process = subprocess.Popen(
            command, env=environment, stdout=file, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    node = NodeProcess(process, log)
    try:
        yield node
    finally:
        node.stop()
