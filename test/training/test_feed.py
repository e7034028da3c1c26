"""Views stored behind the frozen blocks are what the whole network would have seen."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_views import CONFIG, Memory

from vpr_ros.config import SamplerConfig, ValidationConfig
from vpr_ros.errors import DatasetError
from vpr_ros.models.registry import untrained_model
from vpr_ros.training.feed import PictureFeed, StoredFeed, step_seed, store_views
from vpr_ros.training.session import Session
from vpr_ros.training.train import train
from vpr_ros.training.views import ViewSet

CPU = torch.device('cpu')
HEAD = replace(
    CONFIG, model='sage_nano', scratch=False, stored_views=2, places_per_batch=3, steps=2,
    epoch_steps=1, sampler=SamplerConfig(kind='places'), validation=ValidationConfig(share=0.0),
)  # fmt: skip


@pytest.fixture(scope='module')
def views():
    rng = np.random.default_rng(0)
    pictures = Memory([rng.integers(0, 256, (288, 384, 3), dtype=np.uint8) for _ in range(9)])
    places = np.repeat(np.arange(3), 3)
    return ViewSet(
        pictures, np.column_stack([places * 100.0, places * 0.0]), np.zeros(9), places,
        np.zeros(9, np.int64), np.tile(np.arange(3), 3), ('noise',),
    )  # fmt: skip


def test_stored_views_give_the_same_descriptors(views, tmp_path):
    model = untrained_model('sage_nano')
    pictures = PictureFeed(views, model, HEAD, CPU)
    feed = store_views(pictures, 9, model, HEAD, tmp_path, model.network.first_adapted)
    with torch.inference_mode():
        [images], [stream] = pictures.plain(np.arange(9)), feed.plain(np.arange(9))
        whole, rest = model.network(images), model.network(stream)
    assert (whole * rest).sum(dim=1).min() > 0.99999  # the streams are fp16


def test_versions_are_augmented_and_drawn_by_seed(views, tmp_path):
    model = untrained_model('sage_nano')
    pictures = PictureFeed(views, model, HEAD, CPU)
    feed = store_views(pictures, 9, model, HEAD, tmp_path, 2)
    assert feed.file.shape[:2] == (3, 9)
    assert not np.array_equal(feed.file[0], feed.file[1])
    assert not np.array_equal(feed.file[1], feed.file[2])
    rows = [(np.arange(9), np.arange(9))] * 3
    drawn = [stream.x for stream, _ in feed.batches(rows, [1, 1, 2])]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_training_on_stored_views_resumes_exactly(views, tmp_path):
    bits = []
    for name in ('one', 'two'):
        model = untrained_model('sage_nano')
        train(model, views, HEAD, tmp_path / name)
        bits.append(torch.cat([p.flatten() for p in model.network.parameters()]))
    assert torch.equal(*bits)
    assert not list((tmp_path / 'one').glob('*/streams.npy'))  # given back at the end


def test_frozen_blocks_are_those_before_the_first_power_norm(views, tmp_path):
    from vpr_ros.training.distributed import Team

    with Session(untrained_model('sage_nano'), views, HEAD, tmp_path, Team(), CPU) as session:
        assert session.learner.frozen_blocks == 3


def test_no_room_is_said_before_the_first_step(monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, 'No space left on device')

    from vpr_ros.models.networks.dinov2 import Stream

    monkeypatch.setattr('os.posix_fallocate', full)
    with pytest.raises(DatasetError, match='no room in .* for 0.0 GB of stored views'):
        StoredFeed(tmp_path, 4, 2, Stream(torch.zeros(1, 5, 8), (2, 2), 1))


def test_seeds_differ():
    assert len({step_seed(a, b) for a in range(5) for b in range(5)}) == 25
    assert step_seed(1, 2) == step_seed(1, 2)


@pytest.fixture
def torn(views):
    return replace(views, pictures=Memory(views.pictures.images, broken=(4,)))


def test_a_torn_picture_is_never_stored_as_a_view_of_another_place(torn, tmp_path):
    """Its row may not show what stands in for it under the label of its own place."""
    model = untrained_model('sage_nano')
    pictures = PictureFeed(torn, model, HEAD, CPU)
    feed = store_views(pictures, 9, model, HEAD, tmp_path, 2)
    assert feed.lost(np.arange(9)).tolist() == [n == 4 for n in range(9)]
    assert not any(np.array_equal(feed.file[0, 4], feed.file[0, n]) for n in range(9) if n != 4)
    rows = [(np.array([0, 1, 3, 4]), np.array([0, 0, 1, 1])), (np.array([0, 4]), np.array([0, 1]))]
    (beside, labels), (_, its_label) = feed.batches(rows, [1, 1])
    assert labels.tolist() == [0, 0, 1, 1]
    shown = beside.x[3].half().numpy()
    assert any(np.array_equal(shown, feed.file[version, 3]) for version in range(3))
    assert its_label.tolist() == [0, 0]  # of the place that it does show
    with pytest.raises(DatasetError, match='none of the 1 pictures'):
        next(feed.batches([(np.array([4]), np.array([1]))], [1]))


def test_a_torn_picture_alone_is_described_as_nothing(torn, tmp_path):
    from vpr_ros.training.distributed import Team

    with Session(untrained_model('sage_nano'), torn, HEAD, tmp_path, Team(), CPU) as session:
        found = session.learner.describe(session.pictures, np.array([4]))
        assert not found.any()
        found = session.learner.describe(session.pictures, np.array([3, 4, 5]))
        assert found.any(axis=1).tolist() == [True, False, True]
        assert [lost.name for lost in session.newly_lost()] == ['texture 4']
