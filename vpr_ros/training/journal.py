"""What happened at each step, for programs and people: JSON lines and TensorBoard's events."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from vpr_ros.errors import CheckpointError

LOG_NAME = 'log.jsonl'


class Journal:
    """Appends a line of JSON a record; after an interruption it is cut back to the saved step."""

    def __init__(self, folder: Path, step: int) -> None:
        """Open the log of a run, and forget what it says of steps from `step` on."""
        self.path = folder / LOG_NAME
        self._cut_back(step)
        self._file = self.path.open('a', encoding='utf-8')
        self._events = _event_writer(folder, step)

    def _cut_back(self, step: int) -> None:
        if not self.path.exists():
            return
        kept = [
            line
            for line in self.path.read_text(encoding='utf-8').splitlines(keepends=True)
            if line.endswith('\n') and json.loads(line)['step'] < step
        ]
        part = self.path.with_name(self.path.name + '.part')
        part.write_text(''.join(kept), encoding='utf-8')
        os.replace(part, self.path)

    def write(self, step: int, **values: Any) -> None:
        """Record values of a step; numbers also become curves, under `group/name`.

        Raises:
            CheckpointError: the log cannot be written.
        """
        try:
            self._file.write(json.dumps({'step': step, **values}) + '\n')
            self._file.flush()
            if self._events is not None:
                for name, value in _flat(values):
                    self._events.add_scalar(name, value, step)
        except OSError as error:
            raise CheckpointError(
                f'cannot write {self.path} or the events beside it: {error.strerror or error}; '
                'make room, and go on with --resume if a state was saved'
            ) from None

    def close(self) -> None:
        """Close the files; what does not reach the disk now was complained of in `write`."""
        with contextlib.suppress(OSError):
            self._file.close()
        if self._events is not None:
            with contextlib.suppress(OSError):
                self._events.close()


def _flat(values: dict[str, Any], prefix: str = '') -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            found += _flat(value, f'{prefix}{name}/')
        elif isinstance(value, (int, float)):
            found.append((prefix + name, float(value)))
    return found


def _event_writer(folder: Path, step: int) -> Any:
    """TensorBoard's writer where it is installed (`pip install tensorboard`), else None."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step)
