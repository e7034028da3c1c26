"""What a source is, told from what lies there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vpr_ros.errors import ConfigError, DatasetError
from vpr_ros.recognition.drive import DriveOptions
from vpr_ros.training.sources.folder import read_folder
from vpr_ros.training.sources.gsv_cities import is_gsv_cities, read_gsv_cities
from vpr_ros.training.sources.msls import is_msls, read_msls
from vpr_ros.training.sources.photos import read_photos
from vpr_ros.training.sources.rosbag import read_drives
from vpr_ros.training.sources.tower import read_tower
from vpr_ros.training.sources.town import read_town
from vpr_ros.training.sources.vpr_map import read_map
from vpr_ros.training.views import ViewSet

TOWN_PLACES, TOWN_VIEWS = 400, 4

Work = Callable[[str, int, int], None]
Note = Callable[[str], None]


@dataclass(frozen=True)
class SourceOptions:
    """What a source alone does not say."""

    image_topic: str = ''
    pose_topic: str = ''
    forward_only: bool = False  # of MSLS


def open_views(
    specs: Sequence[str],
    options: SourceOptions | None = None,
    work: Work = lambda what, done, total: None,
    note: Note = lambda sentence: None,
) -> list[ViewSet]:
    """Open sources; all recordings among them together are the sessions of one area.

    Args:
        specs: `town:SEED[:PLACES]`, `tower:FOLDER[:FLOOR+FLOOR]`, `photos:FOLDER`, a recording,
            a `.vprmap`, the root of GSV-Cities or MSLS, or a folder with `@utm_east@utm_north@`
            names.
        options: for all of them.
        work: told how far the long ones are.
        note: told what was left out of them, a sentence each.

    Raises:
        ConfigError: a town that cannot be.
        VprError: a source cannot be read.
        DatasetError: a source is given twice.
    """
    _refuse_twice(specs)
    options = options or SourceOptions()
    bags = [spec for spec in specs if _is_bag(spec)]
    found = []
    for spec in specs:
        if spec not in bags:
            found.append(_open(spec, options, work, note))
        elif spec == bags[0]:
            drive = DriveOptions(options.image_topic, options.pose_topic)
            paths, progress = [Path(bag) for bag in bags], _named(work, 'reading bags')
            found.append(read_drives(paths, drive, progress, note=note))
    return found


def _refuse_twice(specs: Sequence[str]) -> None:
    """Two copies of a drive would make its places trivial."""
    known = set()
    for spec in specs:
        same = Path(spec).resolve()
        if same in known:
            raise DatasetError(f'{spec} is given twice: name each source once')
        known.add(same)


def _open(spec: str, options: SourceOptions, work: Work, note: Note) -> ViewSet:
    kind, _, rest = spec.partition(':')
    if kind == 'town':
        seed, _, places = rest.partition(':')
        places = places or str(TOWN_PLACES)
        if not seed.isdecimal() or not places.isdecimal() or not int(places):
            raise ConfigError(
                f'expected town:SEED[:PLACES] in whole numbers, 1 place or more, found {spec}'
            )
        progress = _named(work, f'rendering {spec}')
        return read_town(int(seed), int(places), TOWN_VIEWS, progress=progress)
    if kind == 'tower':
        folder, _, floors = rest.partition(':')
        return read_tower(Path(folder), tuple(floors.split('+')) if floors else ())
    return read_photos(Path(rest)) if kind == 'photos' else _on_disk(Path(spec), options, note)


def _on_disk(path: Path, options: SourceOptions, note: Note) -> ViewSet:
    if not path.exists():
        raise DatasetError(f'nothing at {path}: expected a recording, a map or a folder of images')
    if path.suffix == '.vprmap':
        return read_map(path, note)
    if is_gsv_cities(path):
        return read_gsv_cities(path, note)
    if is_msls(path):
        return read_msls(path, options.forward_only, note)
    return read_folder(path, note)


def _is_bag(spec: str) -> bool:
    path = Path(spec)
    if path.is_dir():
        return (path / 'metadata.yaml').is_file() or any(
            next(path.glob(pattern), None) for pattern in ('*.mcap', '*.db3')
        )
    return path.is_file() and path.suffix != '.vprmap'


def _named(work: Work, what: str) -> Callable[[int, int], None]:
    return lambda done, total: work(what, done, total)
