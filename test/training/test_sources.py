"""Published layouts on miniatures with the same files, our maps, bags and the town."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_drive import START_NS, write_drive
from small_views import write_textures

from vpr_ros.config import TrainConfig
from vpr_ros.errors import ConfigError, DatasetError
from vpr_ros.recognition.drive import DriveOptions
from vpr_ros.training.sources import (
    SourceOptions,
    check_pictures,
    open_views,
    single_views,
)
from vpr_ros.training.sources.gsv_cities import read_gsv_cities
from vpr_ros.training.sources.msls import read_msls
from vpr_ros.training.sources.rosbag import read_drives
from vpr_ros.training.views import joined, require_places


def picture(path: Path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((24, 32, 3), value, np.uint8)
    image[4:8, value % 24 : value % 24 + 4] = 255 - value
    assert cv2.imwrite(str(path), image)
    return path


def table(path: Path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('w', newline='') as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


# Folders -----------------------------------------------------------------------------------------


def test_a_folder_says_where_and_when(tmp_path):
    [views] = open_views([str(write_textures(tmp_path / 'survey', places=5, views=3))])
    assert len(views) == 15
    assert views.place_count == 5
    assert len(np.unique(views.sessions)) == 3
    assert views.names == ('survey',)
    np.testing.assert_allclose(views.heading_rad, 0.0)  # 90 degrees from north is east
    assert views.position_m[:, 0].min() >= 500_000
    assert views.pictures.read(0).shape == (108, 148, 3)


def test_the_places_of_a_survey_are_taken_from_its_table(tmp_path):
    folder = tmp_path / 'survey'
    names = ['a/@1.0@2.0@@.jpg', 'b/@1.5@2.0@@.jpg', 'b/@90.0@2.0@@.jpg']
    for value, name in enumerate(names):
        picture(folder / name, value)
    rows = [{'file': name, 'place': place} for name, place in zip(names, (7, 7, 9), strict=True)]
    table(folder / 'survey.csv', rows)
    [views] = open_views([str(folder)])
    assert views.places.tolist() == [0, 0, 1]  # renumbered
    assert np.isnan(views.heading_rad).all()
    table(folder / 'survey.csv', [*rows, {'file': 'c/@3@3@.jpg', 'place': 1}])
    with pytest.raises(DatasetError, match='names c/@3@3@.jpg, which is not there'):
        open_views([str(folder)])
    table(folder / 'survey.csv', [{'file': names[0], 'spot': 1}])
    with pytest.raises(DatasetError, match='expected columns file and place'):
        open_views([str(folder)])


@pytest.mark.parametrize('name', ['@east@2.0@.jpg', '@5.0.jpg', '@nan@2.0@.jpg'])
def test_names_that_say_no_position_are_named(tmp_path, name):
    picture(tmp_path / 'survey' / name)
    with pytest.raises(DatasetError, match=name.replace('.', r'\.')):
        open_views([str(tmp_path / 'survey')])


# GSV-Cities --------------------------------------------------------------------------------------


@pytest.fixture
def gsv(tmp_path):
    """Two cities; in the first two places, 40 m apart to the north."""
    root = tmp_path / 'gsv'
    for city, latitude in (('Rome', 41.9), ('Oslo', 59.9)):
        rows = []
        for place in range(2):
            for year in (2012, 2019):
                row = {
                    'place_id': place + 3, 'year': year, 'month': 7, 'northdeg': 88,
                    'city_id': city, 'lat': f'{latitude + place * 40 / 111_320:.7f}',
                    'lon': '12.4810700', 'panoid': f'p{place}{year}',
                }  # fmt: skip
                rows.append(row)
                picture(
                    root / f'Images/{city}/{city}_{place + 3:07d}_{year}_07_088_{row["lat"]}_'
                    f'{row["lon"]}_{row["panoid"]}.jpg', place,
                )  # fmt: skip
        table(root / f'Dataframes/{city}.csv', rows)
    return root


def test_gsv_cities(gsv):
    [views] = open_views([str(gsv)])
    assert len(views) == 8
    assert set(views.names) == {'Rome', 'Oslo'}
    assert views.place_count == 4
    assert check_pictures(views).problems == ()
    for area in (0, 1):
        rows = np.flatnonzero(views.areas == area)
        gap = views.position_m[rows[2]] - views.position_m[rows[0]]
        np.testing.assert_allclose(gap, [0.0, 40.0], atol=0.4)
    np.testing.assert_allclose(views.heading_rad, np.deg2rad(2.0))
    assert sorted(np.unique(views.sessions).tolist())  # months of both years
    assert len(np.unique(views.sessions[views.areas == 0])) == 2


def test_gsv_files_that_lack_are_named_before_the_first_step(gsv):
    victim = next((gsv / 'Images/Rome').iterdir())
    victim.unlink()
    found = check_pictures(read_gsv_cities(gsv))
    assert len(found.problems) == 1
    assert victim.name in found.problems[0]


def test_gsv_tables_are_checked(gsv):
    rows = [{'place_id': 1, 'year': 2000}]
    table(gsv / 'Dataframes/Rome.csv', rows)
    with pytest.raises(DatasetError, match='Rome.csv lacks the column'):
        read_gsv_cities(gsv)


# MSLS --------------------------------------------------------------------------------------------


@pytest.fixture
def msls(tmp_path):
    """One training city; image c is a panorama, d shows the car's panel, e looks sideways."""
    root = tmp_path / 'msls'
    for city in ('zurich', 'cph'):
        for part, keys in (('database', 'abc'), ('query', 'de')):
            folder = root / 'train_val' / city / part
            table(folder / 'postprocessed.csv', [
                {'': n, 'key': key, 'easting': 10.0 * n, 'northing': 5.0,
                 'unique_cluster': n // 2, 'night': False, 'control_panel': key == 'd',
                 'view_direction': 'Sideways' if key == 'e' else 'Forward'}
                for n, key in enumerate(keys)
            ])  # fmt: skip
            table(folder / 'raw.csv', [
                {'': n, 'key': key, 'lon': 8.5, 'lat': 47.3, 'ca': 90.0,
                 'captured_at': '2018-01-01', 'pano': key == 'c'}
                for n, key in enumerate(keys)
            ])  # fmt: skip
            table(folder / 'seq_info.csv', [
                {'': n, 'key': key, 'sequence_key': f's{n}', 'frame_number': n}
                for n, key in enumerate(keys)
            ])  # fmt: skip
            for n, key in enumerate(keys):
                picture(folder / 'images' / f'{key}.jpg', n)
    return root


def test_msls_without_panoramas_panels_and_validation_cities(msls):
    [views] = open_views([str(msls)])
    names = [Path(views.pictures.name(n)).stem for n in range(len(views))]
    assert names == ['a', 'b', 'e']
    assert views.names == ('zurich',)
    assert views.places.tolist() == [0, 0, 0]  # cluster 0 of database and query
    assert views.sessions.tolist() == [0, 1, 1]
    np.testing.assert_allclose(views.heading_rad, 0.0, atol=1e-12)
    assert check_pictures(views).problems == ()
    assert len(read_msls(msls, forward_only=True)) == 2


def test_msls_keys_without_a_raw_row_are_named(msls):
    folder = msls / 'train_val/zurich/database'
    table(folder / 'raw.csv', [{'key': 'a', 'ca': 1.0, 'pano': False}])
    with pytest.raises(DatasetError, match=r'row 3: b is not in .*raw\.csv'):
        read_msls(msls)


def test_numbers_that_are_none_are_named_with_their_row(msls):
    path = msls / 'train_val/zurich/query/postprocessed.csv'
    path.write_text(path.read_text().replace('10.0', 'north'))
    with pytest.raises(DatasetError, match=r"row 3: easting is 'north', expected a number"):
        read_msls(msls)


# Recordings, maps, town --------------------------------------------------------------------------


def test_two_drives_are_two_sessions_of_one_area(tmp_path):
    bags = [
        write_drive(tmp_path / name, images=30, start_ns=START_NS + day * 86_400 * 10**9)
        for day, name in enumerate(('monday', 'tuesday'))
    ]
    [views] = open_views([str(bag) for bag in bags])
    assert len(views) == 60
    assert np.unique(views.sessions).tolist() == [0, 1]
    assert np.unique(views.areas).tolist() == [0]
    shared = [p for p in np.unique(views.places[views.places >= 0])
              if len(np.unique(views.sessions[views.places == p])) == 2]  # fmt: skip
    assert shared
    require_places(views)
    assert views.pictures.read(59).shape == (288, 384, 3)
    assert 'tuesday' in views.pictures.name(59)


def test_a_drive_is_decoded_once(tmp_path, monkeypatch):
    bag = write_drive(tmp_path / 'monday', images=12)
    first = read_drives([bag], DriveOptions())

    def never(*_):
        raise AssertionError('read again')

    monkeypatch.setattr('vpr_ros.training.sources.rosbag.open_bag', never)
    second = read_drives([bag], DriveOptions())
    np.testing.assert_array_equal(first.position_m, second.position_m)
    np.testing.assert_array_equal(first.pictures.read(3), second.pictures.read(3))


def test_a_drive_without_poses_is_refused(tmp_path):
    bag = write_drive(tmp_path / 'monday', images=5)
    with pytest.raises(DatasetError, match='has no image with a pose'):
        open_views([str(bag)], SourceOptions(pose_topic='none'))


def test_a_map_gives_its_thumbnails(tmp_path, small_bag, tiny_model):
    from vpr_ros.recognition.mapping import build_map

    build_map(small_bag, tiny_model, tmp_path / 'small.vprmap')
    [views] = open_views([str(tmp_path / 'small.vprmap')])
    assert len(views) == 45
    assert views.names == ('small.vprmap',)
    assert views.pictures.read(44).ndim == 3
    assert check_pictures(views).problems == ()


@pytest.mark.parametrize(
    ('spec', 'error', 'words'),
    [
        ('town:x', ConfigError, 'expected town:SEED'),
        ('nowhere', DatasetError, 'nothing at nowhere'),
        ('tower:nowhere', Exception, 'nowhere'),
    ],
)
def test_what_is_no_source_is_said(spec, error, words):
    with pytest.raises(error, match=words):
        open_views([spec])


def test_a_folder_of_nothing_is_said(tmp_path):
    with pytest.raises(DatasetError, match='no images with @utm_east@utm_north@ names'):
        open_views([str(tmp_path)])


def test_photographs_are_places_of_one_view(tmp_path):
    for value in range(5):
        picture(tmp_path / 'photos' / f'kind {value % 2}' / f'{value}.jpg', value)
    [views] = open_views([f'photos:{tmp_path / "photos"}'])
    assert views.place_count == len(views) == 5
    assert np.isnan(views.position_m).all()
    assert views.names == ('photos photos',)
    with pytest.raises(DatasetError, match='expected images below .*, found none'):
        open_views([f'photos:{tmp_path / "none"}'])


def test_sources_are_joined_and_places_stay_apart(tmp_path):
    specs = [str(write_textures(tmp_path / name, places=3, views=2)) for name in ('one', 'two')]
    views = joined(open_views(specs))
    assert views.place_count == 6
    assert views.names == ('one', 'two')
    assert len(np.unique(views.sessions)) == 4
    assert 'two' in views.pictures.name(11)


# Looks before the first step ---------------------------------------------------------------------


def test_copies_are_told_of_and_lonely_views_are_left_to_the_sampler(tmp_path):
    folder = tmp_path / 'survey'
    picture(folder / '@0@0@@.jpg', 1)
    picture(folder / '@0.5@0@@.jpg', 1)
    picture(folder / '@100@0@@.jpg', 9)
    [views] = open_views([str(folder)])
    found = check_pictures(views)
    assert found.problems == ()
    [warning] = found.warnings
    assert 'is a copy of' in warning
    [said] = single_views(views, TrainConfig())
    assert '1 places have one view' in said


def test_bad_files_are_named(tmp_path):
    folder = tmp_path / 'survey'
    picture(folder / '@0@0@@.jpg')
    (folder / '@1@0@@.jpg').write_bytes(b'')
    (folder / '@2@0@@.jpg').write_text('hello')
    [views] = open_views([str(folder)])
    problems = check_pictures(views).problems
    assert len(problems) == 2
    assert '@1@0@@.jpg' in problems[0]
