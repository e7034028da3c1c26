"""A map with shorter descriptors, from one with whole ones."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vpr_ros.errors import ConfigError, MapError
from vpr_ros.maps import place_rows, schema
from vpr_ros.maps.agreement import Agreement
from vpr_ros.maps.files import discard, writing
from vpr_ros.maps.projection import drawn, fit

BLOCK = 1024  # places whose descriptors are in memory at a time

Progress = Callable[[int, int], None]
Stage = Callable[[str], Progress]  # takes the name of a step, gives what shows its progress


def silent(what: str) -> Progress:
    """A stage that shows nothing."""
    return lambda done, total: None


@dataclass(frozen=True)
class Compression:
    """To what length descriptors are shortened, and how; see `Projection` for `centred`."""

    dim: int
    centred: bool = False
    stage: Stage = silent  # called with the name of each step

    def check(self, full_dim: int) -> None:
        """Refuse a length that does not shorten descriptors of length `full_dim`.

        Raises:
            ConfigError: it does not.
        """
        if not 1 <= self.dim < full_dim:
            raise ConfigError(
                f'cannot shorten descriptors of length {full_dim} to {self.dim}: '
                f'expected a length from 1 to {full_dim - 1}'
            )


def compress(
    source: Path | str, target: Path | str, compression: Compression, overwrite: bool = False
) -> dict[str, float]:
    """Write a map again with descriptors projected on their principal directions.

    Places keep their ids, sessions theirs; the new map has its own identity. It is written whole
    or not at all, and `target` may be the source itself with `overwrite`. At most 2^14 whole
    descriptors are in memory at a time.

    Args:
        source: a map with whole descriptors.
        target: the map to write.
        compression: length of the new descriptors, less than the number of places.
        overwrite: replace an existing target.

    Returns:
        What the compression does to the map's own search: the share of squared length that is
        `kept` (centred: `variance_kept`), the number of `places`, the figures of `Agreement`.

    Raises:
        ConfigError: the length is not less than that of the whole descriptors.
        MapError: the source is compressed already or has too few places, one of the files cannot
            be read or written, or another process is writing to the target.
    """
    with writing(Path(target), overwrite) as part:
        whole = part.with_name(part.name + '.whole')
        discard(whole)
        try:
            _check(source, compression)
            compression.stage('copying the map')
            _copy(source, whole)
            figures = _shorten(whole, compression)
            _copy(whole, part)
        except sqlite3.Error as error:
            raise MapError(f'cannot compress {source} to {target}: {error}') from None
        finally:
            discard(whole)
        return figures


def _check(path: Path | str, compression: Compression) -> None:
    with closing(schema.open_database(path, writable=False)) as database:
        info = schema.read_info(database, str(path))
        count = schema.count_places(database, info, str(path))
    if info.binding != info.fingerprint:
        raise MapError(
            f'{path} is compressed already, to {info.dim}: start from the map that it was made of'
        )
    compression.check(info.dim)
    if compression.dim >= count:
        raise MapError(
            f'{path} has {count} places, whose descriptors have no more directions than that: '
            f'expected a length below it, found {compression.dim}'
        )


def _copy(source: Path | str, target: Path) -> None:
    """Copy every table as it is at this moment, also beside a writer, without unused pages."""
    with closing(schema.open_database(source, writable=False)) as database:
        database.execute('VACUUM INTO ?', (str(target),))


def _shorten(path: Path, compression: Compression) -> dict[str, float]:
    """Project the descriptors in a file that nobody else sees."""
    with closing(schema.open_database(path, writable=True)) as database:
        database.execute('PRAGMA journal_mode = OFF')
        info = schema.read_info(database, str(path))
        ids = np.array([row[0] for row in database.execute('SELECT id FROM places ORDER BY id')])
        count = len(ids)
        fitting = compression.stage('finding directions')
        sample = _descriptors(database, ids[drawn(count)], info.dim)
        projection = fit(sample, compression.dim, compression.centred)
        del sample
        fitting(1, 1)
        asked = drawn(count, most=Agreement.MOST_QUERIES)
        agreement = Agreement(asked, _descriptors(database, ids[asked], info.dim), projection)
        projecting = compression.stage('projecting places')
        database.execute('BEGIN')
        for start, rows in _blocks(database, ids, info.dim):
            shorter = place_rows.as_stored(projection.apply(rows))
            agreement.add(start, rows, shorter)
            some = ids[start : start + len(rows)].tolist()
            database.executemany(
                'UPDATE places SET descriptor = ? WHERE id = ?',
                zip(map(place_rows.to_blob, shorter), some, strict=True),
            )
            projecting(start + len(rows), count)
        kept = 'kept' if projection.keeps_cosines else 'variance_kept'
        figures = {kept: projection.kept, 'places': count, **agreement.figures()}
        schema.set_projection(database, info, projection, figures)
        database.execute('COMMIT')
    return figures


def _descriptors(database: sqlite3.Connection, ids: np.ndarray, dim: int) -> np.ndarray:
    """Descriptors (N, dim), float32, of these places."""
    query = 'SELECT descriptor FROM places WHERE id = ?'
    blobs = (database.execute(query, (id_,)).fetchone()[0] for id_ in ids.tolist())
    return place_rows.from_blobs(blobs, dim)


def _blocks(
    database: sqlite3.Connection, ids: np.ndarray, dim: int
) -> Iterator[tuple[int, np.ndarray]]:
    """All descriptors, some rows at a time, with the number of the first."""
    for start in range(0, len(ids), BLOCK):
        yield start, _descriptors(database, ids[start : start + BLOCK], dim)
