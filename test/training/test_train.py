"""The loop learns, repeats itself exactly, and stops at nonsense."""

import cv2
import numpy as np
import pytest
import torch

from vpr_ros.config import AugmentConfig, LossConfig, TrainConfig
from vpr_ros.errors import CheckpointError, ConfigError, DatasetError
from vpr_ros.models.dinov2 import VIT_TINY, VisionTransformer
from vpr_ros.models.registry import untrained_model
from vpr_ros.records import Pose
from vpr_ros.training.augment import augment
from vpr_ros.training.data import STORED_SIZE, join, place_set, places_by_pose
from vpr_ros.training.distill import load_teacher
from vpr_ros.training.train import learning_rate, train

CONFIG = TrainConfig(
    model='sage_test', device='cpu', steps=60, places_per_batch=8, views_per_place=3,
    learning_rate=5e-3, average=0.9, single_image_share=0.0,
    augment=AugmentConfig(smallest_crop=0.9, stretch=1.0, tilt_deg=0.0, light=0.1, grey=0.0),
)  # fmt: skip


def textures(places=12, views=4, seed=0):
    """Places are coarse textures; views are crops of them in another light."""
    rng = np.random.default_rng(seed)
    for _ in range(places):
        texture = cv2.resize(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8), (160, 120))
        for _ in range(views):
            y, x = rng.integers(0, 12, 2)
            yield (texture[y : y + 108, x : x + 148] * rng.uniform(0.7, 1.0)).astype(np.uint8)


@pytest.fixture(scope='module')
def data():
    return place_set(textures(), np.repeat(np.arange(12), 4), 'textures')


def fresh():
    return untrained_model('sage_test')


def recall(model, images, places):
    from vpr_ros.image import to_tensor

    with torch.inference_mode():
        x = torch.cat([model.network(to_tensor(image, model.input)) for image in images])
    similarity = (x @ x.T).fill_diagonal_(-2)
    return (places[similarity.argmax(dim=1).numpy()] == places).mean()


def test_training_separates_places(data):
    model, losses = fresh(), []
    places = np.repeat(np.arange(12), 4)
    held_out = list(textures(seed=7))
    before = recall(model, held_out, places)
    train(model, data, CONFIG, report=lambda step: losses.append(step.losses['similarity']))
    assert np.mean(losses[-8:]) < 0.95 * np.mean(losses[:4])
    assert recall(model, held_out, places) > before + 0.1
    assert not model.network.training


def test_same_seed_same_weights_bit_for_bit(data):
    from dataclasses import replace

    short, weights = replace(CONFIG, steps=4), []
    for seed in (0, 0, 1):
        model = fresh()
        train(model, data, replace(short, seed=seed))
        weights.append(torch.cat([p.flatten() for p in model.network.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_learning_rate_rises_and_falls():
    rates = [learning_rate(step, CONFIG) for step in range(CONFIG.steps)]
    assert max(rates) == CONFIG.learning_rate
    top = rates.index(max(rates))
    assert 0 < top < 4
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] < 0.05 * CONFIG.learning_rate


def test_nan_stops_with_the_step(data):
    model = fresh()
    with torch.no_grad():
        model.network.backbone.cls_token.fill_(torch.nan)
    with pytest.raises(DatasetError, match='at step 0'):
        train(model, data, CONFIG)


def test_teacher_losses_without_a_teacher(data):
    with pytest.raises(ConfigError, match='need teacher weights'):
        train(fresh(), data, TrainConfig(model='sage_test', loss=LossConfig(tokens=1.0)))


@pytest.fixture
def teacher_file(tmp_path):
    from safetensors.torch import save_file

    torch.manual_seed(3)
    weights = VisionTransformer(VIT_TINY).state_dict()
    save_file({**weights, 'head.weight': torch.zeros(2, 192)}, tmp_path / 'teacher.safetensors')
    return tmp_path / 'teacher.safetensors'


def test_a_student_learns_from_a_teacher(data, teacher_file):
    """On another patch grid than the teacher's the tokens would not correspond: nano fits."""
    model = untrained_model('sage_nano')
    config = TrainConfig(
        device='cpu', steps=6, places_per_batch=4, views_per_place=1, learning_rate=1e-3,
        loss=LossConfig(0.0, 1.0, 1.0),
    )  # fmt: skip
    losses = []
    train(model, data, config, load_teacher(teacher_file, 192), lambda s: losses.append(s.losses))
    assert set(losses[0]) == {'tokens', 'relations'}
    assert losses[-1]['tokens'] < losses[0]['tokens']


def test_teacher_files_are_checked(tmp_path, teacher_file):
    with pytest.raises(CheckpointError, match='no teacher weights'):
        load_teacher(tmp_path / 'none', 192)
    (tmp_path / 'text').write_text('hello')
    with pytest.raises(CheckpointError, match='not a safetensors file'):
        load_teacher(tmp_path / 'text', 192)
    from safetensors.torch import save_file

    save_file({'cls_token': torch.zeros(1, 1, 192)}, tmp_path / 'other')
    with pytest.raises(CheckpointError, match='lacks the tensor blocks.0'):
        load_teacher(tmp_path / 'other', 192)


def test_augmentation_keeps_range_and_follows_its_generator():
    images = torch.rand(6, 3, 50, 60)
    config = AugmentConfig(mirror=0.5, collage=0.5)
    one, two, three = (
        augment(images, (28, 28), config, torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    )
    assert one.shape == (6, 3, 28, 28)
    assert one.min() >= 0 and one.max() <= 1
    assert torch.equal(one, two)
    assert not torch.equal(one, three)


def test_no_augmentation_is_a_plain_resize():
    images = torch.rand(2, 3, 56, 56)
    still = AugmentConfig(1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    found = augment(images, (28, 28), still, torch.Generator())
    expected = torch.nn.functional.interpolate(images, (28, 28), mode='bilinear')
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


def test_places_by_pose_lie_apart():
    line = [Pose((float(x), 0.0, 0.0)) for x in np.arange(0, 60, 0.5)]
    back = [Pose((p.position_m[0], 1.0, 0.0), (0, 0, 1.0, 0.0)) for p in reversed(line)]
    labels = places_by_pose([*line, None, *back], radius_m=4.0)
    ahead, behind = labels[: len(line)], labels[len(line) + 1 :]
    assert labels[len(line)] == -1
    assert not set(ahead[ahead >= 0]) & set(behind[behind >= 0])  # the other way is another view
    for a in set(ahead[ahead >= 0]):
        for b in set(ahead[ahead >= 0]) - {a}:
            x = np.arange(0, 60, 0.5)
            gaps = np.abs(x[ahead == a][:, None] - x[ahead == b])
            assert gaps.min() > 4.0


def test_joining_keeps_places_apart(data):
    both = join([data, data])
    assert both.images.shape == (96, *STORED_SIZE, 3)
    assert both.place_count == 24
    assert set(both.places[:48]) & set(both.places[48:]) == set()
    assert both.names == ('textures', 'textures')


def test_one_place_is_not_enough():
    with pytest.raises(DatasetError, match='at least 2'):
        place_set(iter([np.zeros((4, 4, 3), np.uint8)] * 3), np.zeros(3, int), 'x')


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({'loss': LossConfig(similarity=0.0)}, 'every loss has weight 0'),
        ({'image_size': 75}, 'multiple of the patch of 14, found 75'),
    ],
)
def test_settings_that_cannot_work_are_refused_before_the_first_step(data, settings, words):
    steps = []
    with pytest.raises(ConfigError, match=words):
        train(fresh(), data, TrainConfig(model='sage_test', **settings), report=steps.append)
    assert steps == []


@pytest.mark.parametrize('name', ['fol_test', 'folpp_test'])
def test_a_network_without_a_recipe_is_refused(data, name):
    with pytest.raises(ConfigError, match=f'{name} cannot be trained here'):
        train(untrained_model(name), data, TrainConfig(model=name))
