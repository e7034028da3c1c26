"""A teacher whose blocks count alike, and none of their directions more than another."""

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from small_views import CONFIG, texture_views

from vpr_ros.config import LossConfig, TrainConfig, ValidationConfig
from vpr_ros.models.networks.dinov2 import VIT_TINY, VisionTransformer
from vpr_ros.models.registry import untrained_model
from vpr_ros.training import distill
from vpr_ros.training.distill import Teacher, load_teacher
from vpr_ros.training.train import Watcher, train


def pictures(count, seed=0):
    """Noise on grey: all of them much alike."""
    rng = torch.Generator().manual_seed(seed)
    return (0.5 + 0.2 * torch.randn(count, 3, 32, 32, generator=rng)).clamp(0, 1)


@pytest.fixture(scope='module')
def teacher():
    torch.manual_seed(0)
    return Teacher(24, whitened=True)


def test_what_all_images_share_makes_none_of_them_alike(teacher):
    images = pictures(24)
    teacher.whiten(images.split(8))
    descriptor = F.normalize(teacher.teach(images).descriptor, dim=1)
    assert descriptor.shape == (24, 3 * 192)
    similarity = descriptor @ descriptor.T
    others = similarity[~torch.eye(24, dtype=torch.bool)]
    assert abs(float(others.mean())) < 0.1
    plain = F.normalize(teacher._look(images)[1][0], dim=1)
    assert float((plain @ plain.T).mean()) > 0.5


def test_blocks_count_alike_and_the_batch_does_not_matter(teacher):
    images = pictures(24)
    teacher.whiten(images.split(8))
    together = teacher.teach(images).descriptor
    for part in together.split(192, dim=1):
        torch.testing.assert_close(part.norm(dim=1), torch.ones(24))
    torch.testing.assert_close(
        teacher.teach(images[:3]).descriptor, together[:3], atol=1e-4, rtol=0
    )


def test_whitening_makes_the_covariance_flat(teacher, monkeypatch):
    monkeypatch.setattr(distill, 'WHITENING_POWER', 1.0)
    monkeypatch.setattr(distill, 'WHITENING_FLOOR', 1e-9)
    images = pictures(300, 1)
    teacher.whiten(images.split(100))
    pooled = teacher._look(images)[1][1].double()
    white = (pooled - teacher.mean[1]) @ teacher.whitening[1].double()
    covariance = white.T @ white / 300
    torch.testing.assert_close(
        covariance, torch.eye(192, dtype=torch.float64), atol=0.05, rtol=0.0
    )


def test_a_run_prepares_it_on_its_own_views(tmp_path):
    torch.manual_seed(3)
    save_file(VisionTransformer(VIT_TINY).state_dict(), tmp_path / 'vit.safetensors')
    teacher = load_teacher(tmp_path / 'vit.safetensors', 32, whitened=True)
    assert len(teacher.backbone.blocks) == max(distill.WHITENED_BLOCKS) + 1
    before = teacher.whitening.clone()
    config = TrainConfig(
        model='sage_test', scratch=True, device='cpu', steps=2, places_per_batch=4,
        views_per_place=2, image_size=112, loss=LossConfig(similarity=0.0, relations=1.0),
        teacher_view='whitened', augment=CONFIG.augment,
        sampler=CONFIG.sampler.__class__(kind='places'), validation=ValidationConfig(share=0.0),
    )  # fmt: skip
    losses = []
    train(
        untrained_model('sage_test'), texture_views(), config, tmp_path / 'run', teacher=teacher,
        watcher=Watcher(step=lambda step: losses.append(step.losses)),
    )  # fmt: skip
    assert set(losses[0]) == {'relations'} and losses[0]['relations'] > 0
    assert not torch.equal(before, teacher.whitening)
