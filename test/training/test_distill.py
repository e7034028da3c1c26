"""A teacher's head that fits what the student knows already."""

import numpy as np
import torch
from small_views import CONFIG, texture_views

from vpr_ros.config import LossConfig, TrainConfig, ValidationConfig
from vpr_ros.models.registry import untrained_model
from vpr_ros.training.distill import Teacher
from vpr_ros.training.train import Watcher, train


def test_the_head_becomes_the_least_squares():
    rng = torch.Generator().manual_seed(0)
    patches = torch.randn(4, 50, 24, generator=rng)
    turn, shift = torch.randn(192, 24, generator=rng), torch.randn(192, generator=rng)
    teacher = Teacher(24)
    teacher.fit(patches, patches @ turn.T + shift)
    torch.testing.assert_close(teacher.project.weight, turn, rtol=0.02, atol=0.02)
    torch.testing.assert_close(teacher.project.bias, shift, rtol=0.02, atol=0.02)


def test_features_without_variance_are_fitted_all_the_same():
    teacher = Teacher(24)
    tokens = torch.randn(2, 30, 192, generator=torch.Generator().manual_seed(0))
    teacher.fit(torch.ones(2, 30, 24), tokens)
    assert torch.isfinite(teacher.project.weight).all()
    torch.testing.assert_close(teacher.project.bias, tokens.mean(dim=(0, 1)))


def first_loss(scratch, folder):
    torch.manual_seed(0)
    config = TrainConfig(
        scratch=scratch, device='cpu', steps=1, places_per_batch=4, views_per_place=1,
        image_size=96, loss=LossConfig(similarity=0.0, tokens=1.0), augment=CONFIG.augment,
        sampler=CONFIG.sampler.__class__(kind='places'), validation=ValidationConfig(share=0.0),
    )  # fmt: skip
    losses = []
    train(
        untrained_model('sage_nano'), texture_views(), config, folder, teacher=Teacher(192),
        watcher=Watcher(step=lambda step: losses.append(step.losses['tokens'])),
    )  # fmt: skip
    return losses[0]


def test_a_student_that_goes_on_meets_its_teacher_first(tmp_path):
    anew, goes_on = (first_loss(s, tmp_path / str(s)) for s in (True, False))
    assert np.isfinite(goes_on)
    assert goes_on < 0.5 * anew
