"""Entry point of `vpr`."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from vpr_ros import __version__
from vpr_ros.cli import (
    benchmark,
    calibrate,
    demo,
    embedded,
    evaluate,
    explain,
    export,
    live,
    maps,
    models,
    train,
    weights,
)
from vpr_ros.errors import ConfigError, VprError
from vpr_ros.threads import share_the_processor

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; importing it loads neither torch nor rclpy."""
    parser = argparse.ArgumentParser(
        prog='vpr', description='Visual place recognition: maps, evaluation, training, replay.'
    )
    parser.add_argument('--version', action='version', version=f'vpr_ros {__version__}')
    commands = parser.add_subparsers(metavar='COMMAND', required=True)
    for room in (
        demo,
        maps,
        evaluate,
        calibrate,
        explain,
        live,
        train,
        models,
        weights,
        benchmark,
        export,
        embedded,
    ):
        room.add_commands(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command: 0 done, 1 failed, 2 wrong use, with one sentence on stderr."""
    share_the_processor()
    _print_whatever_comes()
    parsed = build_parser().parse_args(arguments)
    try:
        parsed.run(parsed)
    except KeyboardInterrupt as stop:
        return _fail(str(stop) or 'interrupted; nothing half-written is left behind', INTERRUPTED)
    except ConfigError as error:
        return _fail(str(error), WRONG_USE)
    except VprError as error:
        return _fail(str(error), FAILED)
    except OSError as error:
        return _fail(_told(error), FAILED)
    return 0


def _print_whatever_comes() -> None:
    """Names of files need not be UTF-8, and terminals need not know every letter we print."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == 'strict':
            stream.reconfigure(errors='backslashreplace')


def _told(error: OSError) -> str:
    """What the system would not do, and with which file where it says so."""
    reason = error.strerror or str(error)
    if not isinstance(error.filename, str | bytes | os.PathLike):
        return f'{reason}: what was asked for could not be written or read to its end'
    return f'{os.fsdecode(error.filename)}: {reason}'


def _fail(sentence: str, code: int) -> int:
    print(f'vpr: {sentence}', file=sys.stderr)
    return code


if __name__ == '__main__':  # for torchrun, which takes modules
    sys.exit(main())
