"""Surveys: the same files for the same seed, with names that say where they were taken."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from vpr_ros.cli.main import main
from vpr_ros.errors import ConfigError, DatasetError
from vpr_ros.imagefile import read_image
from vpr_ros.synthetic import outings, survey
from vpr_ros.synthetic.camera import Camera
from vpr_ros.synthetic.outings import (
    SPACING_M,
    Outing,
    layout_for,
    named_outings,
    plan_outings,
    shots_of,
    spots_of,
)
from vpr_ros.synthetic.survey import ORIGIN_M, write_survey

TINY = Camera(24, 32, 23.0)
DAY, NIGHT = Outing('day', 'noon', 'summer'), Outing('dark', 'night', 'winter', views=2)


@pytest.fixture
def sparse(monkeypatch):
    """Few places, for quick tests."""
    monkeypatch.setattr(outings, 'SPACING_M', 60.0)


@pytest.fixture(scope='module')
def written(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('survey') / 'town'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outings, 'SPACING_M', 60.0)
        write_survey(folder, 4, 20, [DAY, NIGHT], TINY, workers=1)
    return folder


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / 'survey.csv').open(newline='') as table:
        return list(csv.DictReader(table))


def test_every_place_is_seen_as_often_as_asked_and_every_picture_is_there(written):
    rows = rows_of(written)
    places = {int(row['place']) for row in rows}
    assert len(places) >= 20 and places == set(range(len(places)))
    for name, views in (('day', 1), ('dark', 2)):
        seen = [int(row['place']) for row in rows if row['session'] == name]
        assert (np.bincount(seen) == views).all()
    files = {str(path.relative_to(written)) for path in written.rglob('*.jpg')}
    assert files == {row['file'] for row in rows}
    assert read_image(written / rows[0]['file']).shape == (24, 32, 3)


def test_names_say_where_pictures_were_taken(sparse, written):
    spots = spots_of(layout_for(4, 20).plan())
    for row in rows_of(written):
        parts = Path(row['file']).name.split('@')
        assert (len(parts), parts[0], parts[-1]) == (16, '', '.jpg')
        assert (parts[1], parts[2]) == (row['east'], row['north'])
        assert (parts[3], parts[4], parts[14]) == ('32', 'T', row['session'])
        place = int(row['place'])
        near = np.array([float(parts[1]), float(parts[2])]) - ORIGIN_M - spots.position_m[place]
        assert np.linalg.norm(near) < 4.0
        yaw = np.deg2rad(90.0 - float(parts[9]))
        assert np.cos(yaw - spots.yaw_rad[place]) > 0.9
        right = [np.sin(spots.yaw_rad[place]), -np.cos(spots.yaw_rad[place])]
        assert 0.4 < near @ right < 2.6


def test_the_files_do_not_depend_on_the_number_of_workers(sparse, written, tmp_path):
    again = tmp_path / 'again'
    write_survey(again, 4, 20, [DAY, NIGHT], TINY, workers=2)
    files = [path.relative_to(written) for path in sorted(written.rglob('*.*'))]
    assert files == [path.relative_to(again) for path in sorted(again.rglob('*.*'))]
    for file in files:
        assert (written / file).read_bytes() == (again / file).read_bytes()


def test_places_of_a_street_are_apart_and_look_alikes_are_named():
    plan = layout_for(1, 400).plan()
    spots = spots_of(plan)
    apart = np.linalg.norm(spots.position_m[:, None] - spots.position_m[None], axis=2)
    same_way = np.cos(spots.yaw_rad[:, None] - spots.yaw_rad[None]) > 0.99
    np.fill_diagonal(same_way, False)
    assert apart[same_way].min() >= SPACING_M - 1e-6
    alike = spots.alike[spots.alike >= 0]
    assert 0.05 * len(spots) < len(alike) < 0.5 * len(spots)
    for group in np.unique(alike):
        members = np.flatnonzero(spots.alike == group)
        assert len(members) == 2
        assert np.ptp(spots.yaw_rad[members]) < 1e-6
        assert apart[tuple(members)] > SPACING_M


def test_a_larger_town_has_more_look_alike_groups():
    groups = [layout_for(1, places).groups for places in (100, 400, 2000)]
    assert groups == sorted(groups) and groups[-1] > 12
    plan = layout_for(1, 2000).plan()
    templates = {block.template for block in plan.blocks} - {None}
    assert len(templates) == groups[-1]


def test_a_share_of_the_pictures_is_occluded():
    outing = Outing('day', 'noon', 'summer', occluded=0.4)
    spots = spots_of(layout_for(1, 400).plan())
    shots = shots_of(spots, outing, outing.session([0]), np.random.default_rng(0))
    hidden = [shot.occluder.share for shot in shots if shot.occluder is not None]
    assert 0.33 < len(hidden) / len(shots) < 0.47
    assert 0.1 <= min(hidden) and max(hidden) <= 0.4


def test_outings_share_the_views_and_differ_in_light():
    outings = plan_outings(5, 12)
    assert [outing.views for outing in outings] == [3, 3, 2, 2, 2]
    assert len({(outing.light, outing.season) for outing in outings}) == 5
    named = named_outings('reference=noon/summer,query=night/winter')
    assert [(o.name, o.light, o.season, o.views) for o in named] == [
        ('reference', 'noon', 'summer', 1),
        ('query', 'night', 'winter', 1),
    ]


@pytest.mark.parametrize(
    ('names', 'complaint'),
    [
        ('day', 'NAME=LIGHT/SEASON'), ('day=noon', 'NAME=LIGHT/SEASON'),
        ('day=noon/monsoon', 'monsoon'), ('day=neon/summer', 'neon'), ('../up=noon/summer', 'up'),
        ('@=noon/summer', '@'),
    ],
)  # fmt: skip
def test_sessions_that_make_no_sense_are_refused(names, complaint):
    with pytest.raises(ConfigError, match=complaint):
        named_outings(names)


def test_too_few_views_and_sessions_of_one_name_are_refused(tmp_path):
    with pytest.raises(ConfigError, match='at least one'):
        plan_outings(6, 5)
    with pytest.raises(ConfigError, match='names of their own'):
        write_survey(tmp_path / 'town', 0, 20, [DAY, DAY], TINY)
    with pytest.raises(ConfigError, match='at least 1'):
        write_survey(tmp_path / 'town', 0, 0, [DAY], TINY)


def test_a_folder_that_exists_is_left_alone(written):
    before = (written / 'survey.csv').read_bytes()
    with pytest.raises(DatasetError, match='exists already'):
        write_survey(written, 9, 20, [DAY], TINY)
    assert (written / 'survey.csv').read_bytes() == before


def test_a_survey_that_cannot_be_written_leaves_nothing(sparse, tmp_path, monkeypatch):
    (tmp_path / 'file').write_text('')
    with pytest.raises(DatasetError, match='cannot be written'):
        write_survey(tmp_path / 'file' / 'town', 4, 20, [DAY], TINY, workers=1)

    def full(row, *_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(survey, '_row', full)
    with pytest.raises(DatasetError, match='No space left'):
        write_survey(tmp_path / 'town', 4, 20, [DAY], TINY, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ['file']


def test_the_command_writes_one(tmp_path, monkeypatch):
    monkeypatch.setattr(survey, '_draw', lambda camera, job: [b'picture'] * len(job.shots))
    out = tmp_path / 'town'
    common = ['demo-data', '--workers', '1', '-o', str(out)]
    assert main([*common, '--places', '20']) != 0
    assert main([*common, '--survey', '--places', '20', '--sessions', '2', '--views', '3']) == 0
    assert {row['session'] for row in rows_of(out)} == {'s00-noon-summer', 's01-night-autumn'}
