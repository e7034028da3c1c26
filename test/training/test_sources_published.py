"""Turns of the published layouts: names, zones, clusters, and what tables leave open."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from vpr_ros.errors import DatasetError
from vpr_ros.training.sources import check_pictures, open_views
from vpr_ros.training.sources.gsv_cities import read_gsv_cities
from vpr_ros.training.sources.msls import read_msls


def picture(path: Path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((24, 32, 3), value, np.uint8))


def table(path: Path, header: str, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('w', newline='') as file:
        csv.writer(file).writerows([header.split(','), *rows])


# Folders -----------------------------------------------------------------------------------------


def test_zones_are_areas_and_hold_places_of_their_own(tmp_path):
    """The same numbers in two zones, and on both sides of the equator, are far apart."""
    names = [
        '@500000@100@32@U@@@@@90@.jpg', '@500001@100@32@V@@@@@90@.jpg',
        '@500000@100@33@U@@@@@90@.jpg', '@500000@100@32@L@@@@@90@.jpg',
    ]  # fmt: skip
    for value, name in enumerate(names):
        picture(tmp_path / 'day' / name, value)
    [views] = open_views([str(tmp_path)])
    area = dict(zip((Path(views.pictures.name(n)).name for n in range(4)), views.areas,
                    strict=True))  # fmt: skip
    assert area[names[0]] == area[names[1]]
    assert len(set(area.values())) == 3
    assert set(views.names) == {f'{tmp_path.name} {zone}' for zone in ('32N', '32S', '33N')}
    assert views.place_count == 3


# GSV-Cities --------------------------------------------------------------------------------------

GSV = 'place_id,year,month,northdeg,city_id,lat,lon,panoid'


def gsv(root: Path, latitude: str, file: str, place: str = '130', north: str = '15'):
    row = (place, '2018', '4', north, 'London', latitude, '-0.0895151', '6jFj_b-3w')
    table(root / 'Dataframes/London.csv', GSV, [row])
    picture(root / 'Images/London' / file)
    return root


@pytest.mark.parametrize(
    ('latitude', 'file'),
    [
        # The example of the authors' description, then their loader's and their tree's turns.
        ('51.4861', 'London_0000130_2018_04_015_51.4861_-0.0895151_6jFj_b-3w.JPG'),
        ('51.4861', 'London_0000130_2018_04_015_51.4861_-0.0895151_6jFj_b-3w.jpg'),
        ('51.48610', 'London_0000130_2018_04_015_51.4861_-0.0895151_6jFj_b-3w.jpg'),
        ('51.48610', 'London_0000130_2018_04_015_51.48610_-0.0895151_6jFj_b-3w.jpg'),
    ],
)
def test_a_row_finds_its_file(tmp_path, latitude, file):
    views = read_gsv_cities(gsv(tmp_path, latitude, file))
    assert views.pictures.name(0) == str(tmp_path / 'Images/London' / file)
    assert check_pictures(views).problems == ()


def test_bearings_beyond_a_turn_are_written_and_meant(tmp_path):
    """The authors' tree shows PRS_0000003_2015_05_584_..."""
    views = read_gsv_cities(
        gsv(tmp_path, '51.4861', 'London_0000130_2018_04_584_51.4861_-0.0895151_6jFj_b-3w.jpg',
            north='584')
    )  # fmt: skip
    assert check_pictures(views).problems == ()
    assert np.cos(views.heading_rad[0]) == pytest.approx(np.cos(np.deg2rad(90 - 224)))


def test_a_row_without_its_file_is_named(tmp_path):
    views = read_gsv_cities(gsv(tmp_path, '51.4861', 'another.jpg'))
    [problem] = check_pictures(views).problems
    assert problem.endswith(f'is not there ({tmp_path}/Dataframes/London.csv, row 2)')


@pytest.mark.parametrize(('latitude', 'place'), [('', '1'), ('nan', '1'), ('51.5', 'x')])
def test_a_row_without_a_position_or_place_is_named(tmp_path, latitude, place):
    with pytest.raises(DatasetError, match=r'London\.csv, row 2: (lat|place_id) is'):
        read_gsv_cities(gsv(tmp_path, latitude, 'x.jpg', place))


def test_cities_without_images_are_told_of(tmp_path):
    gsv(tmp_path, '51.4861', 'London_0000130_2018_04_015_51.4861_-0.0895151_6jFj_b-3w.jpg')
    table(tmp_path / 'Dataframes/Rome.csv', GSV, [])
    notes = []
    assert read_gsv_cities(tmp_path, notes.append).names == ('London',)
    assert notes == [f'{tmp_path}: 1 cities without images left out: Rome']


# MSLS --------------------------------------------------------------------------------------------


def msls(root: Path, parts, compass='90.0'):
    """`parts`: rows of key, easting, northing, cluster, direction for database and query."""
    for part, rows in zip(('database', 'query'), parts, strict=True):
        folder = root / 'train_val/zurich' / part
        table(
            folder / 'postprocessed.csv',
            ',key,easting,northing,unique_cluster,control_panel,night,view_direction',
            [(n, *row[:4], False, False, row[4]) for n, row in enumerate(rows)],
        )
        table(
            folder / 'raw.csv', ',key,lon,lat,ca,captured_at,pano',
            [(n, row[0], 8.5, 47.3, compass, '2018-01-01', False) for n, row in enumerate(rows)],
        )  # fmt: skip
        for row in rows:
            picture(folder / 'images' / f'{row[0]}.jpg')
    return root


def test_clusters_counted_together_join_and_those_that_lie_apart_do_not(tmp_path):
    database = [('a', 0.0, 0.0, 4, 'Forward'), ('b', 500.0, 0.0, 7, 'Forward')]
    query = [('c', 3.0, 4.0, 4, 'Forward'), ('d', 900.0, 0.0, 7, 'Forward'),
             ('e', 901.0, 0.0, 7, 'Forward')]  # fmt: skip
    views = read_msls(msls(tmp_path, (database, query)))
    assert views.places.tolist() == [0, 1, 0, 2, 2]
    assert views.sessions.tolist() == [0, 0, 1, 1, 1]  # no seq_info.csv


def test_an_empty_compass_is_an_unknown_heading_and_a_wrong_one_is_named(tmp_path):
    rows = ([('a', 0.0, 0.0, 1, 'Forward')], [('b', 0.0, 0.0, 1, 'Forward')])
    assert np.isnan(read_msls(msls(tmp_path / 'empty', rows, compass='')).heading_rad).all()
    with pytest.raises(DatasetError, match=r"database/raw.csv, row 2: ca is 'east'"):
        read_msls(msls(tmp_path / 'wrong', rows, compass='east'))


def test_a_city_of_which_nothing_is_left(tmp_path):
    rows = ([('a', 0.0, 0.0, 1, 'Sideways')], [('b', 0.0, 0.0, 1, 'Backward')])
    notes = []
    with pytest.raises(DatasetError, match='no city to train on'):
        read_msls(msls(tmp_path, rows), forward_only=True, note=notes.append)
    assert len(notes) == 1
    assert 'zurich: no image is left' in notes[0]


def test_a_missing_image_names_its_table_and_row(tmp_path):
    rows = ([('a', 0.0, 0.0, 1, 'Forward')], [('b', 0.0, 0.0, 1, 'Forward')])
    views = read_msls(msls(tmp_path, rows))
    (tmp_path / 'train_val/zurich/query/images/b.jpg').unlink()
    [problem] = check_pictures(views).problems
    assert problem.endswith('zurich/query/postprocessed.csv, row 2)')


# Walk-through videos -----------------------------------------------------------------------------


def tower(root: Path, rows):
    table(root / 'images.csv', 'image_path,label,split,video,second',
          [(f'images/{video}_{second}.jpg', floor, 'train', video, second)
           for floor, video, second in rows])  # fmt: skip
    return root


def test_seconds_of_a_video_are_places_with_gaps(tmp_path):
    rows = [('one', video, second) for video in 'ab' for second in range(9)]
    rows += [('two', 'c', 0)]
    root = tower(tmp_path, rows)
    [views] = open_views([f'tower:{root}:one'])
    assert views.places.tolist() == [0, 0, 0, 0, -1, -1, -1, 1, 1, 2, 2, 2, 2, -1, -1, -1, 3, 3]
    assert views.sessions.tolist() == [0] * 9 + [1] * 9
    assert np.isnan(views.position_m).all()
    assert views.names == ('ie_tower one',)
    [views] = open_views([f'tower:{root}'])
    assert views.place_count == 5


def test_a_second_that_is_no_number_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"the second of images/a_x.jpg is 'x'"):
        open_views([f'tower:{tower(tmp_path, [("one", "a", "x")])}'])
