"""Readers of the shared sets, what they refuse, and the figures known for them."""

import shutil

import cv2
import numpy as np
import pytest
from PIL import Image
from shared_data import shared_data

from vpr_ros.errors import DatasetError
from vpr_ros.evaluation.datasets import (
    DATASETS,
    LoopSet,
    PairSet,
    corridor,
    duckietown,
    euroc,
    geo_folder,
    kitti,
    read_dataset,
    tower_floors,
    tower_seconds,
)
from vpr_ros.evaluation.evaluate import DescribedSet, Options, evaluate_descriptors
from vpr_ros.evaluation.images import ImageFiles, VideoFrames
from vpr_ros.evaluation.precision_recall import ranking_auc
from vpr_ros.evaluation.tables import tum_track


def tiny(image, patch=8):
    """64 x 32 grey, each patch of 8 x 8 brought to mean 0 and deviation 1, unit length.

    The data sheet does not say what keeps flat patches from dividing by zero. The 5 grey levels
    here were found by trying which constant gives its loop and corridor figures.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (64, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    patches = small.reshape(32 // patch, patch, 64 // patch, patch).swapaxes(1, 2)
    patches = patches.reshape(-1, patch * patch)
    mean, deviation = (f(patches, axis=1, keepdims=True) for f in (np.mean, np.std))
    descriptor = ((patches - mean) / (deviation + 5.0)).ravel()
    return descriptor / np.linalg.norm(descriptor)


def described(images, track):
    return DescribedSet(np.array([tiny(image) for image in images]), track)


def evaluated(name):
    data, options = read_dataset(name, shared_data()), Options(replicates=0)
    if isinstance(data, LoopSet):
        return evaluate_descriptors(described(data.images, data.track), None, data.rule,
                                    options=options)  # fmt: skip
    queries = described(data.queries, data.query_track)
    references = described(data.references, data.reference_track)
    return evaluate_descriptors(queries, references, data.truth, options=options)


@pytest.mark.parametrize(
    ('name', 'matchable', 'first', 'area'),
    [('euroc', 57, 0.32, 0.20), ('duckietown', 74, 0.64, 0.47)],
)
def test_loop_figures_of_the_data_sheet_are_reproduced(name, matchable, first, area):
    found = evaluated(name)
    assert found.recall.matchable == matchable
    assert round(found.recall.of_matchable[0], 2) == first
    assert round(found.single_best.average_precision, 2) == area


@pytest.mark.parametrize(
    ('name', 'queries', 'references', 'first', 'fifth'),
    [('corridor', 111, 111, 0.36, 0.62), ('toy-streetview', 5, 17, 0.2, 0.8)],
)
def test_retrieval_figures_of_the_data_sheet_are_reproduced(
    name, queries, references, first, fifth
):
    found = evaluated(name)
    assert (found.queries, found.references) == (queries, references)
    assert [round(share, 2) for share in found.recall.of_all[:2]] == [first, fifth]


def test_pair_figure_of_the_data_sheet_is_reproduced():
    data = read_dataset('landmark-pairs', shared_data())
    assert isinstance(data, PairSet)
    assert (len(data.images), len(data.pairs), data.same.sum()) == (31, 33, 19)
    looks = np.array([tiny(image) for image in data.images])
    assert round(ranking_auc(data.similarities(looks), data.same), 2) == 0.52


def test_the_drive_without_loops_has_none():
    data = kitti(shared_data('kitti_noloop_1'))
    table = data.truth()
    assert len(data.images) == 51
    assert not table.has_positive.any()
    assert table.has_positive.shape == (51,)
    assert table.admissible.any(axis=1).sum() == 31  # all but the first two seconds


def test_stamps_are_exact_and_images_in_their_order():
    data = euroc(shared_data('euroc_v101_keyframes'))
    assert [f'{stamp}.jpg' for stamp in data.track.stamps_ns] == list(data.images.names)
    assert data.images[0].shape == (480, 752, 3)


def test_an_image_without_a_pose_of_its_time_is_named(tmp_path):
    folder = tmp_path / 'euroc'
    shutil.copytree(shared_data('euroc_v101_keyframes'), folder, copy_function=shutil.copyfile)
    first = sorted((folder / 'cam0').iterdir())[0]
    first.rename(first.with_stem('1403715273262152976'))
    with pytest.raises(DatasetError, match=r'1403715273262152976\.jpg: no pose has its stamp'):
        euroc(folder)
    (folder / 'cam0' / '1403715273262152976.jpg').rename(folder / 'cam0' / 'first.jpg')
    with pytest.raises(DatasetError, match='names in nanoseconds'):
        euroc(folder)


def test_the_tower_can_be_cut_to_some_floors():
    folder = shared_data('ie_tower')
    whole, some = tower_floors(folder), tower_floors(folder, ['floor3', 'floor5'])
    assert (len(whole.queries), len(whole.references)) == (173, 434)
    assert all(name.startswith(('floor3', 'floor5')) for name in some.references.names)
    assert 0 < len(some.queries) < 173
    seconds = tower_seconds(folder)
    assert len(seconds.queries) == 103
    assert seconds.truth.has_positive.all()
    with pytest.raises(DatasetError, match='no such floor: floor9'):
        tower_floors(folder, ['floor9'])
    with pytest.raises(DatasetError, match='only one of them'):
        tower_floors(folder, ['basement2'])


def test_a_video_gives_the_same_frame_forwards_and_backwards():
    frames = duckietown(shared_data('duckietown_sim')).images
    assert len(frames) == 250
    forwards = [frames[i] for i in (0, 3, 4)]
    backwards = [frames[i] for i in (4, 3, 0)][::-1]
    assert all((a == b).all() for a, b in zip(forwards, backwards, strict=True))
    assert not (forwards[0] == forwards[2]).all()
    assert (frames[0:2][1] == frames[1]).all()


def test_a_malformed_video_is_refused_by_name():
    path = shared_data('nasty', 'video', 'test_malformed.mp4')
    with pytest.raises(DatasetError, match=r'test_malformed\.mp4'):
        VideoFrames(path, 100)


def test_unknown_sets_and_empty_folders_are_named(tmp_path):
    with pytest.raises(DatasetError, match='known are euroc, duckietown'):
        read_dataset('nordland', tmp_path)
    for name, (folder, _) in DATASETS.items():
        with pytest.raises(DatasetError, match=folder):
            read_dataset(name, tmp_path)


def test_missing_images_are_named(tmp_path):
    folder = tmp_path / 'corridor'
    shutil.copytree(shared_data('corridor_vprbench'), folder, copy_function=shutil.copyfile)
    for name in ('0000003.jpg', '0000005.jpg'):
        (folder / 'query' / name).unlink()
    with pytest.raises(DatasetError, match=r'2 of 111 images are missing: 0000003\.jpg, 0000005'):
        corridor(folder)
    (folder / 'ref' / '0000000.jpg').unlink()
    with pytest.raises(DatasetError, match=r'reference 0000000\.jpg is in no file of ref/'):
        corridor(folder)


def test_a_file_that_is_no_image_is_named_when_read(tmp_path):
    (tmp_path / 'a.jpg').write_text('not an image')
    images = ImageFiles(tmp_path, ['a.jpg'])
    with pytest.raises(DatasetError, match=r'a\.jpg is not an image'):
        images[0]
    with pytest.raises(IndexError):
        images[1]


def geo(folder, **east):
    for side, values in east.items():
        (folder / side).mkdir()
        for value in values:
            name = f'@{value}@4178906.70@17@S@.jpg'
            Image.new('RGB', (8, 6)).save(folder / side / name)
    return folder


def test_positions_are_read_from_file_names(tmp_path):
    data = geo_folder(geo(tmp_path, queries=[100.0, 300.0], database=[75.0, 126.0, 325.1]))
    by_name = dict(zip(data.references.names, data.truth.positive[0], strict=True))
    assert by_name['@75.0@4178906.70@17@S@.jpg']  # exactly 25 m
    assert not by_name['@126.0@4178906.70@17@S@.jpg']
    assert not data.truth.positive[1].any()


def test_a_name_without_a_position_is_refused(tmp_path):
    geo(tmp_path, queries=['here'], database=[1.0])
    with pytest.raises(DatasetError, match='@here@.*expected a name @utm_east@utm_north'):
        geo_folder(tmp_path)


@pytest.mark.parametrize(
    ('text', 'word'),
    [
        ('', 'found none'),
        ('# only a comment\n', 'found none'),
        ('1 2 3\n', 'line 1: expected 8 numbers, found 3'),
        ('0 0 0 0 0 0 0 one\n', 'one'),
        ('0 0 0 0 0 0 0 nan\n', 'nan'),
        ('a 0 0 0 0 0 0 1\n', 'a'),
    ],
)
def test_pose_files_that_cannot_be_read_are_refused(tmp_path, text, word):
    path = tmp_path / 'poses.txt'
    path.write_text(text)
    with pytest.raises(DatasetError, match=f'poses.txt.*{word}'):
        tum_track(path)


def test_pose_files_of_bytes_are_refused(tmp_path):
    (tmp_path / 'poses.txt').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(DatasetError, match='not text'):
        tum_track(tmp_path / 'poses.txt')


def test_a_pose_too_few_is_told(tmp_path):
    folder = tmp_path / 'kitti_noloop_1'
    shutil.copytree(shared_data('kitti_noloop_1'), folder, copy_function=shutil.copyfile)
    rows = (folder / 'poses.txt').read_text().splitlines()
    (folder / 'poses.txt').write_text('\n'.join(rows[:-1]))
    with pytest.raises(DatasetError, match='51 images, but 50 poses'):
        kitti(folder)
