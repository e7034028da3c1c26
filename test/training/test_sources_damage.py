"""Sources that are wrong, incomplete or given twice: one sentence each, nothing lost silently."""

import csv
import sqlite3
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_views import texture_views

from vpr_ros.config import SamplerConfig, TrainConfig
from vpr_ros.errors import ConfigError, DatasetError, ImageError
from vpr_ros.recognition.mapping import build_map
from vpr_ros.training.sources import check_pictures, open_views, single_views
from vpr_ros.training.sources.tables import numbers, read_table, whole_numbers
from vpr_ros.training.views import joined


def picture(path: Path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((24, 32, 3), value, np.uint8)
    image[4:8, value % 24 : value % 24 + 4] = 255 - value
    assert cv2.imwrite(str(path), image)
    return path


def survey(folder: Path, rows):
    with (folder / 'survey.csv').open('w', newline='') as file:
        csv.writer(file).writerows([('file', 'place'), *rows])


# Tables ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'key,north\na\n', r'row 2: ends before its north'),
        (b'key\na\n', r'lacks the column north: expected columns key and north, found key'),
        (b'', r'found nothing'),
        (b'key,north\n\xff\xfe,1\n', r'cannot be read as a table'),
    ],
)
def test_tables_that_are_none(tmp_path, content, words):
    path = tmp_path / 't.csv'
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=words):
        read_table(path, ('key', 'north'))


def test_a_table_of_a_spreadsheet_with_its_mark(tmp_path):
    path = tmp_path / 't.csv'
    path.write_bytes(b'\xef\xbb\xbfkey,north\na,1\n')
    assert read_table(path, ('key', 'north')) == [{'key': 'a', 'north': '1'}]


def test_values_that_are_no_numbers_are_named_with_their_row(tmp_path):
    rows = [{'x': '1'}, {'x': 'nan'}, {'x': '2.5'}]
    with pytest.raises(DatasetError, match=r"t, row 3: x is 'nan', expected a number"):
        numbers(rows, 'x', Path('t'))
    assert np.isnan(numbers(rows, 'x', Path('t'), unknown=np.nan)).tolist() == [False, True, False]
    with pytest.raises(DatasetError, match=r"t, row 4: x is '2.5', expected a whole number"):
        whole_numbers([rows[0], rows[0], rows[2]], 'x', Path('t'))


# Folders -----------------------------------------------------------------------------------------


def test_rows_of_a_survey_are_named(tmp_path):
    picture(tmp_path / '@1@2@.jpg')
    survey(tmp_path, [('@1@2@.jpg', '1'), ('@5@5@.jpg', '1')])
    with pytest.raises(DatasetError, match=r'row 3, names @5@5@.jpg, which is not there'):
        open_views([str(tmp_path)])
    survey(tmp_path, [('@1@2@.jpg', 'one')])
    with pytest.raises(DatasetError, match=r"survey.csv, row 2: place is 'one'"):
        open_views([str(tmp_path)])


def test_places_of_any_number_take_no_more_memory(tmp_path):
    for value, name in enumerate(('@1@2@.jpg', '@2@2@.jpg', '@3@2@.jpg')):
        picture(tmp_path / name, value)
    survey(tmp_path, [('@1@2@.jpg', '10000000000000'), ('@2@2@.jpg', '-1')])
    [views] = open_views([str(tmp_path)])
    assert views.places.tolist() == [0, -1, -1]
    assert check_pictures(views).warnings == ()


def test_images_without_a_position_are_told_of(tmp_path):
    picture(tmp_path / '@1@2@.jpg')
    picture(tmp_path / 'other.jpg')
    notes = []
    [views] = open_views([str(tmp_path)], note=notes.append)
    assert len(views) == 1
    assert notes == [f'{tmp_path}: 1 images without @ names were left out']


def test_infinite_headings_are_refused(tmp_path):
    picture(tmp_path / '@1@2@@@@@@@inf@.jpg')
    with pytest.raises(DatasetError, match='not finite'):
        open_views([str(tmp_path)])


# Given twice -------------------------------------------------------------------------------------


def test_a_source_given_twice_is_refused(tmp_path):
    picture(tmp_path / 'set/@1@2@.jpg')
    with pytest.raises(DatasetError, match='is given twice'):
        open_views([str(tmp_path / 'set'), f'{tmp_path}/set/'])


@pytest.mark.parametrize('spec', ['town:1:0', 'town:²', 'town:-1'])
def test_towns_that_cannot_be(spec):
    with pytest.raises(ConfigError, match='expected town:SEED'):
        open_views([spec])


# Pictures ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({'kind': 'places'}, ['1 places have one view: it is shown 4 times']),
        ({'kind': 'places', 'views': 1}, []),
        ({'kind': 'sage'}, [
            '1 places have one view: the sampler sage shows it only beside views of other places '
            'within the radius',
            '3 photographs of no known position are in no batch of the sampler sage: set '
            'single_image_share above 0, or leave them out',
        ]),
        ({'kind': 'cliques', 'share': 0.5}, [
            '1 places have one view: the sampler cliques shows it only beside views of other '
            'places within the radius',
        ]),
    ],
)  # fmt: skip
def test_what_becomes_of_single_views_is_said_as_the_sampler_does_it(tmp_path, settings, words):
    for name in ('survey/@1@2@.jpg', 'photos/a.jpg', 'photos/b.jpg', 'photos/c.jpg'):
        picture(tmp_path / name, len(name))
    views = joined(open_views([str(tmp_path / 'survey'), f'photos:{tmp_path}/photos']))
    config = TrainConfig(
        views_per_place=settings.get('views', 4), single_image_share=settings.get('share', 0.0),
        sampler=SamplerConfig(kind=settings['kind']),
    )  # fmt: skip
    assert list(single_views(views, config)) == words


def test_views_in_no_place_are_no_single_views():
    views = texture_views(3)
    assert single_views(replace(views, places=np.full(12, -1)), TrainConfig()) == ()


def test_each_problem_has_its_words(tmp_path):
    for name in '123456':
        picture(tmp_path / f'@{name}@0@@.jpg', int(name))
    (tmp_path / '@1@0@@.jpg').write_bytes(b'')
    (tmp_path / '@2@0@@.jpg').write_text('hello')
    sound = (tmp_path / '@3@0@@.jpg').read_bytes()
    (tmp_path / '@3@0@@.jpg').write_bytes(sound[:60])
    [views] = open_views([str(tmp_path)])
    (tmp_path / '@4@0@@.jpg').unlink()
    problems = check_pictures(views).problems
    assert [problem.split('@@.jpg ')[1] for problem in problems] == [
        'has no bytes', 'is not an image, or its header is damaged',
        'cannot be read as an image: Truncated File Read', 'is not there',
    ]  # fmt: skip


def test_copies_are_found_among_files_of_one_size(tmp_path):
    tail = bytes(5000)
    for name, head in enumerate((b'P5 2 2 255 abcd', b'P5 2 2 255 abce', b'P5 2 2 255 abcd')):
        (tmp_path / f'@{name * 100}@0@@.pgm').write_bytes(head + tail)
    [views] = open_views([str(tmp_path)])
    found = [x for x in check_pictures(views).warnings if 'copy' in x]
    assert found == [f'{tmp_path}/@200@0@@.pgm is a copy of {tmp_path}/@0@0@@.pgm']


def test_many_copies_are_counted(tmp_path):
    for n in range(6):
        picture(tmp_path / f'@{n}@0@@.jpg')
    [views] = open_views([str(tmp_path)])
    warnings = check_pictures(views).warnings
    assert len(warnings) == 4
    assert warnings[3] == '2 more copies of images'


# Maps --------------------------------------------------------------------------------------------


@pytest.fixture
def some_map(tmp_path, small_bag, tiny_model):
    """A map with a name that means something in an address."""
    path = tmp_path / 'a?b#c%20.vprmap'
    build_map(small_bag, tiny_model, path)
    return path


def change(path: Path, statement: str, *values):
    with sqlite3.connect(path) as database:
        database.execute(statement, values)
    database.close()


def test_places_without_thumbnails_are_told_of(some_map):
    change(some_map, 'UPDATE places SET thumbnail = NULL WHERE id <= 3')
    notes = []
    [views] = open_views([str(some_map)], note=notes.append)
    assert len(views) == 42
    assert notes == [f'{some_map}: 3 places without pose or thumbnail were left out']
    change(some_map, 'UPDATE places SET thumbnail = NULL')
    with pytest.raises(DatasetError, match='of 45 places 45 have poses and 0 have thumbnails'):
        open_views([str(some_map)])


def test_damaged_thumbnails_and_maps_that_went_are_errors_of_a_picture(some_map):
    [views] = open_views([str(some_map)])
    change(some_map, 'UPDATE places SET thumbnail = ? WHERE id = 2', b'no picture')
    assert check_pictures(views).problems == (
        f'{some_map}, place 2 is not an image, or its header is damaged',
    )
    [views] = open_views([str(some_map)])
    some_map.unlink()
    with pytest.raises(ImageError, match='the map cannot be read'):
        views.pictures.read(0)
