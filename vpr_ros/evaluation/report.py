"""Write an evaluation as a folder: JSON, figures, strips and one page that shows them."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from vpr_ros.errors import DatasetError
from vpr_ros.evaluation.page import Picture, page
from vpr_ros.evaluation.plots import PLOTS, draw
from vpr_ros.evaluation.result import FORMAT, Evaluation
from vpr_ros.evaluation.strips import choose, draw_strip, thumbnails
from vpr_ros.evaluation.theme import DARK, LIGHT

JSON_NAME = 'evaluation.json'
PAGE_NAME = 'index.html'
WIDE = ('timeline', 'matrix')


def write_report(
    evaluation: Evaluation,
    folder: Path | str,
    queries: Sequence[np.ndarray] | None = None,
    references: Sequence[np.ndarray] | None = None,
    strips: int = 8,
) -> Path:
    """Write the report and return the path of its page.

    `queries` and `references` are the images (H, W, 3) uint8 RGB, in the order of the evaluated
    sets and read only where shown; within one drive the references are the queries. Without
    images there are no strips. `strips` is the number shown of each kind. The folder appears
    whole or not at all; an older report in its place is replaced.

    Raises:
        DatasetError: the folder holds something that is not a report of ours, or cannot be
            written; an image to be shown cannot be read.
    """
    folder = Path(folder)
    refuse_foreign(folder)
    part = folder.with_name(f'.{folder.name}.{uuid.uuid4().hex[:8]}.part')
    try:
        part.mkdir(parents=True)
        plots = write_plots(evaluation, part)
        shown = write_strips(evaluation, part, queries, references, strips)
        html = page(evaluation, plots, shown).encode('utf-8', 'replace')  # of a name in bytes
        (part / PAGE_NAME).write_bytes(html)
        (part / JSON_NAME).write_text(evaluation.to_json(), encoding='utf-8')
        put_in_place(part, folder)
    except OSError as error:
        raise DatasetError(f'{folder}: the report cannot be written: {error.strerror}') from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder / PAGE_NAME


def refuse_foreign(folder: Path) -> None:
    """Let only an absent or empty folder, or an older report, be replaced."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        ours = FORMAT.rsplit(' ', 1)[0] in (folder / JSON_NAME).read_text(encoding='utf-8')[:200]
    except (OSError, UnicodeDecodeError):
        ours = False
    if not ours:
        raise DatasetError(
            f'{folder} exists and is not a report of ours; name another folder or remove it'
        )


def put_in_place(part: Path, folder: Path) -> None:
    """Rename the finished folder; an older one steps aside first and is removed last."""
    old = folder.with_name(f'{part.name}.old')
    if folder.exists():
        os.replace(folder, old)
    os.replace(part, folder)
    shutil.rmtree(old, ignore_errors=True)


def write_plots(evaluation: Evaluation, folder: Path) -> list[Picture]:
    """Draw every figure there is something for, light and dark."""
    pictures = []
    for name, (title, _) in PLOTS.items():
        for theme in (LIGHT, DARK):
            figure = draw(name, evaluation, theme)
            if figure is not None:
                figure.savefig(folder / f'{name}{"_dark" if theme is DARK else ""}.png')
        if figure is not None:
            picture = Picture(f'{name}.png', title, f'{name}_dark.png', wide=name in WIDE)
            pictures.append(picture)
    return pictures


def write_strips(
    evaluation: Evaluation,
    folder: Path,
    queries: Sequence[np.ndarray] | None,
    references: Sequence[np.ndarray] | None,
    count: int,
) -> list[tuple[str, list[Picture]]]:
    """Draw the strips of each kind, if there are images."""
    if evaluation.evidence.truth.within_drive:
        references = queries
    if queries is None or references is None or not count:
        return []
    (folder / 'strips').mkdir()
    groups = choose(evaluation, count)
    strips = [strip for group in groups for strip in group.strips]
    ours = thumbnails(queries, (strip.query for strip in strips))
    theirs = thumbnails(references, (row for strip in strips for row in strip.references))
    shown = []
    for group in groups:
        pictures = []
        for number, strip in enumerate(group.strips, start=1):
            file = f'strips/{group.name}_{number:02d}.jpg'
            drawn = draw_strip(evaluation, strip, ours, theirs)
            Image.fromarray(drawn).save(folder / file, quality=88)
            title = f'{group.title}, number {number}: query {strip.query}'
            pictures.append(Picture(file, title))
        shown.append((group.title, pictures))
    return shown
