"""Names that are wrong are told at once: a model takes seconds to load, a drive minutes."""

from __future__ import annotations

from pathlib import Path


def check_recording(path: str) -> None:
    """Refuse a recording that is not there.

    Raises:
        BagError: there is none of this name.
    """
    from vpr_ros.bags.reader import open_bag

    if not Path(path).expanduser().exists():  # one that is there is opened once, by who reads it
        open_bag(path).close()


def check_map(path: str | None) -> None:
    """Refuse a map that is not there, or cut short; None is none.

    Raises:
        MapError: there is none of this name, or it is damaged.
    """
    from vpr_ros.maps.schema import open_database

    if path is not None:
        open_database(path, writable=False).close()


def check_new_map(path: str, overwrite: bool) -> None:
    """Refuse the name of a map that could not be written.

    Raises:
        MapError: there is one already, or cannot be one.
    """
    from vpr_ros.maps.files import check_target

    check_target(Path(path), overwrite)


def check_report(folder: str | None) -> None:
    """Refuse a folder that a report could not be written to; None is none.

    Raises:
        DatasetError: it holds something else.
    """
    from vpr_ros.evaluation.report import refuse_foreign

    if folder:
        refuse_foreign(Path(folder))
