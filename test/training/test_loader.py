"""Batches come in the order of the plan, at one size, and a torn picture costs only itself."""

import numpy as np
import pytest
from small_views import Memory

from vpr_ros.errors import DatasetError
from vpr_ros.training.loader import AHEAD, Loader, stored_size


def numbered(count, broken=()):
    return Memory([np.full((12, 16, 3), n, np.uint8) for n in range(count)], broken)


def rows(*batches):
    return [(np.array(indices), np.array(labels)) for indices, labels in batches]


@pytest.mark.parametrize('threads', [1, 4])
def test_order_is_that_of_the_plan(threads):
    wanted = np.random.default_rng(0).integers(0, 50, (20, 6))
    loader = Loader(numbered(50), (12, 16), threads)
    found = list(loader.batches((row, row) for row in wanted))
    assert np.array_equal([batch.images[:, 0, 0, 0] for batch in found], wanted)
    assert found[0].images.shape == (6, 12, 16, 3)


def test_pictures_are_scaled_to_one_size():
    loader = Loader(
        Memory([np.zeros((30, 50, 3), np.uint8), np.zeros((9, 7, 3), np.uint8)]), (12, 16), 1
    )
    [batch] = loader.batches(rows(([0, 1], [0, 0])))
    assert batch.images.shape == (2, 12, 16, 3)


def test_a_torn_picture_is_replaced_by_its_neighbour_in_the_place():
    loader = Loader(numbered(6, broken=(1, 4)), (12, 16), 2)
    [batch] = loader.batches(rows(([0, 2, 3, 1], [7, 8, 8, 8])))
    assert batch.indices.tolist() == [0, 2, 3, 2]
    assert batch.labels.tolist() == [7, 8, 8, 8]
    [batch] = loader.batches(rows(([0, 4], [7, 9])))
    assert batch.indices.tolist() == [0, 0]  # the whole place is gone
    assert batch.labels.tolist() == [7, 7]
    assert [lost.name for lost in loader.lost.values()] == ['texture 1', 'texture 4']


def test_a_batch_of_nothing_is_an_error():
    with pytest.raises(DatasetError, match='none of the 2 pictures'):
        list(Loader(numbered(2, broken=(0, 1)), (12, 16), 1).batches(rows(([0, 1], [0, 1]))))


def test_reads_only_a_little_ahead():
    read = []

    class Watched(Memory):
        def read(self, index):
            read.append(index)
            return super().read(index)

    pictures = Watched([np.zeros((4, 4, 3), np.uint8)] * 100)
    batches = Loader(pictures, (4, 4), 1).batches(
        (np.array([n]), np.array([n])) for n in range(100)
    )
    next(batches)
    batches.close()
    assert max(read) <= AHEAD + 1


def test_stored_pictures_leave_room_for_crops():
    assert stored_size((240, 240)) == (288, 384)
