"""A map in the making: written beside its name, moved there when it is complete."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from vpr_ros.errors import MapExistsError, MapWriteError


@contextmanager
def writing(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """Give the file in which a map shall be made; it gets its name when the block ends well.

    It is on the disk then: file and folder are synchronised.

    Raises:
        MapExistsError: there is a map of this name already.
        MapWriteError: another process is writing to it, or there cannot be such a file.
    """
    check_target(path, overwrite)
    _end_journal(path)  # tells before the work is done, too
    part = path.with_name(path.name + '.part')
    discard(part)
    try:
        yield part
        _replace_when_complete(part, path)
    finally:
        discard(part)


def check_target(path: Path, overwrite: bool) -> None:
    """Refuse the name of a map that is there already, or cannot be one.

    Raises:
        MapExistsError: there is a map of this name already.
        MapWriteError: it is a folder's name, or its own folder is not there or not writable.
    """
    if path.exists() and not overwrite:
        raise MapExistsError(
            f'{path} exists already: choose another name, remove it, or overwrite'
        )
    if path.is_dir():
        raise MapWriteError(f'cannot write {path}: it is a folder, expected the name of a file')
    if not path.parent.is_dir():
        raise MapWriteError(f'cannot write {path}: there is no folder {path.parent}')
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise MapWriteError(
            f'cannot write {path}: the folder {path.parent} may not be written to by this user'
        )


def discard(part: Path) -> None:
    """Remove an unfinished map and its journals, also those a killed process left."""
    for suffix in ('', '-wal', '-shm', '-journal'):
        Path(f'{part}{suffix}').unlink(missing_ok=True)


def _replace_when_complete(part: Path, path: Path) -> None:
    """Move a finished map to its name; its journal was folded in when it was closed."""
    try:
        with part.open('rb+') as file:
            os.fsync(file.fileno())
        _end_journal(path)
        for suffix in ('-wal', '-shm'):
            Path(str(path) + suffix).unlink(missing_ok=True)
        os.replace(part, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise MapWriteError(f'cannot write {path}: {error.strerror}') from None


def _sync_folder(folder: Path) -> None:
    """Make new names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copy_database(database: sqlite3.Connection, part: Path) -> None:
    """Copy an open database as it is at this moment, also beside a writer, to one new file.

    Raises:
        MapWriteError: it cannot be written.
    """
    try:
        with closing(sqlite3.connect(part, isolation_level=None)) as copy:
            copy.execute('PRAGMA synchronous = OFF')  # synchronised once, when it is complete
            database.backup(copy)
            copy.execute('PRAGMA journal_mode = DELETE').fetchall()  # no journal beside the copy
    except sqlite3.Error as error:
        raise MapWriteError(f'cannot write {part}: {error}') from None


def _end_journal(path: Path) -> None:
    """Fold the journal of a map in that is to be replaced, or it would be taken for the new one's.

    Raises:
        MapWriteError: its writer is alive, and what it writes would be lost.
    """
    if not path.is_file():
        return
    uri = f'{path.resolve().as_uri()}?mode=rw'
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=0.5)) as database:
            database.execute('PRAGMA journal_mode = DELETE')
    except sqlite3.DatabaseError as error:  # else: no map, or damaged; it may be replaced
        if 'locked' in str(error):
            raise MapWriteError(
                f'{path} is being written to by another process: end that first, or choose '
                'another name'
            ) from None
