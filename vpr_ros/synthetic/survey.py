"""A survey: several outings through all streets of a town, as a folder of JPEG files.

Names follow the convention of the field's data sets, `@utm_east@utm_north@...@.jpg`; what they
cannot say is in `survey.csv`.
"""

from __future__ import annotations

import csv
import io
import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import cv2
import numpy as np

from vpr_ros.errors import ConfigError, DatasetError
from vpr_ros.synthetic.camera import Camera
from vpr_ros.synthetic.lights import Session
from vpr_ros.synthetic.outings import Layout, Outing, Shot, Spots, layout_for, shots_of, spots_of
from vpr_ros.synthetic.render import render_scene
from vpr_ros.synthetic.scene import Scene
from vpr_ros.synthetic.town import Town
from vpr_ros.synthetic.workers import ordered_map

SURVEY_CAMERA = Camera(192, 256, 184.0)
ORIGIN_M = (500_000.0, 4_500_000.0)  # UTM east and north of the town's origin
ZONE = ('32', 'T')
TABLE = 'survey.csv'
COLUMNS = (
    'file', 'session', 'season', 'light', 'east', 'north', 'heading_deg', 'place', 'look_alike'
)  # fmt: skip
QUALITY = 92
CHUNK = 24  # pictures a worker draws before it hands them over

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Survey:
    """What was written."""

    folder: Path
    pictures: int
    places: int
    look_alike: int  # places that look like another on purpose


@dataclass(frozen=True)
class _Job:
    layout: Layout
    session: Session
    shots: list[Shot]


def write_survey(
    folder: Path | str,
    seed: int,
    places: int,
    outings: Sequence[Outing],
    camera: Camera = SURVEY_CAMERA,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Survey:
    """Drive a town of at least `places` places once for every outing and write the pictures.

    Args:
        folder: must not exist yet; a sub-folder for every outing.
        seed: of the town and of the outings.
        places: a place is a spot of a street and a direction, 12 m from the next.
        outings: with different names.
        camera: size of the pictures.
        workers: processes that render; None takes one a core. The files do not depend on it.
        progress: called with pictures done and in all.

    Raises:
        ConfigError: no place, no outing or two of one name.
        DatasetError: the folder exists or cannot be written; nothing is left behind.
    """
    target = Path(folder)
    _check(target, outings)
    layout = layout_for(seed, places)
    spots = spots_of(layout.plan())
    half = target.with_name(f'.{target.name}.{os.getpid()}.tmp')
    try:
        pictures = _write(half, layout, spots, outings, camera, workers, progress)
        half.rename(target)
    except OSError as error:
        raise DatasetError(f'{target} cannot be written: {error.strerror or error}') from None
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return Survey(target, pictures, len(spots), int((spots.alike >= 0).sum()))


def _check(target: Path, outings: Sequence[Outing]) -> None:
    names = [outing.name for outing in outings]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f'sessions need names of their own, found {", ".join(names) or "none"}')
    if target.exists():
        raise DatasetError(f'{target} exists already; remove it or choose another folder')


def _write(
    folder: Path,
    layout: Layout,
    spots: Spots,
    outings: Sequence[Outing],
    camera: Camera,
    workers: int | None,
    progress: Progress | None,
) -> int:
    for outing in outings:
        (folder / outing.name).mkdir(parents=True)
    total, done = len(spots) * sum(outing.views for outing in outings), 0
    jobs, rows = itertools.tee(_jobs(layout, spots, outings))
    drawn = ordered_map(partial(_draw, camera), (job for _, job in jobs), workers)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator='\n')
    writer.writerow(COLUMNS)
    for (outing, job), files in zip(rows, drawn, strict=True):
        for shot, content in zip(job.shots, files, strict=True):
            row = _row(outing, spots, shot, done)
            (folder / row[0]).write_bytes(content)
            writer.writerow(row)
            done += 1
        if progress is not None:
            progress(done, total)
    (folder / TABLE).write_text(table.getvalue())
    return done


def _jobs(
    layout: Layout, spots: Spots, outings: Sequence[Outing]
) -> Iterator[tuple[Outing, _Job]]:
    for number, outing in enumerate(outings):
        session = outing.session([layout.seed, 8, number])
        shots = shots_of(spots, outing, session, np.random.default_rng([layout.seed, 9, number]))
        for first in range(0, len(shots), CHUNK):
            yield outing, _Job(layout, session, shots[first : first + CHUNK])


@lru_cache(maxsize=1)
def _town(layout: Layout) -> Town:
    return Town.build(layout.seed, layout.blocks, layout.groups)


@lru_cache(maxsize=1)
def _scene(layout: Layout, session: Session) -> Scene:
    return Scene.build(_town(layout), session)


def _draw(camera: Camera, job: _Job) -> list[bytes]:
    """The pictures of a job as JPEG files; a worker keeps the scene for its next job."""
    scene, files = _scene(job.layout, job.session), []
    for shot in job.shots:
        exposed = replace(job.session, exposure=job.session.exposure * shot.exposure)
        taken = replace(scene, session=exposed)
        picture = render_scene(taken, shot.view, camera, shot.occluder)
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        _, content = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        files.append(content.tobytes())
    return files


def _row(outing: Outing, spots: Spots, shot: Shot, number: int) -> tuple:
    """One line of the table; the file is relative to the folder."""
    east, north = ORIGIN_M[0] + shot.view.x_m, ORIGIN_M[1] + shot.view.y_m
    heading = float(np.rad2deg(np.pi / 2 - shot.view.yaw_rad) % 360.0)
    fields = (
        f'{east:.2f}', f'{north:.2f}', *ZONE, '', '', f'{number:06d}', '', f'{heading:.2f}',
        f'{np.rad2deg(shot.view.pitch_rad):.2f}', f'{np.rad2deg(shot.view.roll_rad):.2f}', '', '',
        outing.name,
    )  # fmt: skip
    file = f'{outing.name}/@{"@".join(fields)}@.jpg'
    return (
        file, outing.name, outing.season, outing.light, fields[0], fields[1], fields[8],
        shot.place, int(spots.alike[shot.place]),
    )  # fmt: skip
