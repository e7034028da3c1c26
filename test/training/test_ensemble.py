"""Models that teach side by side, and a student that comes to agree with them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_views import CONFIG, texture_views

from vpr_ros.config import LossConfig, ValidationConfig
from vpr_ros.errors import CheckpointError, ConfigError
from vpr_ros.image import normalise
from vpr_ros.models import save_checkpoint
from vpr_ros.models.registry import load_model, untrained_model
from vpr_ros.training.ensemble import Ensemble, load_ensemble, without_folders
from vpr_ros.training.train import Watcher, train

LESSON = LossConfig(similarity=0.0, relations=1.0, temperature=0.05, similarities=1.0)


@pytest.fixture
def members(tmp_path):
    """An order for two models of other weights, one of them of another architecture."""
    for seed, name in enumerate(('sage_test', 'fol_test')):
        torch.manual_seed(seed)
        save_checkpoint(untrained_model(name, seed), tmp_path / f'{name} {seed}.safetensors', {})
    first, second = (tmp_path / name for name in ('sage_test 0', 'fol_test 1'))
    return f"sage_test='{first}.safetensors' 'fol_test={second}.safetensors'"


def test_a_cosine_is_the_mean_of_those_of_the_members(members):
    together = load_ensemble(members)
    assert [m.training for m in together.train().modules()].count(True) == 0
    images = torch.rand(5, 3, 84, 70, generator=torch.Generator().manual_seed(0))
    rows = together.teach(images).descriptor
    cosines = []
    for network, spec in zip(together.networks, together.inputs, strict=True):
        with torch.no_grad():
            x = network(normalise(images, spec))
        cosines.append(x @ x.T)
    found = torch.nn.functional.normalize(rows, dim=1)
    torch.testing.assert_close(found @ found.T, torch.stack(cosines).mean(dim=0))
    assert len(cosines) == 2
    assert not torch.allclose(cosines[0], cosines[1], atol=1e-3)


def test_what_cannot_teach_is_refused(tmp_path):
    with pytest.raises(ConfigError, match='no_such_model'):
        load_ensemble('no_such_model')
    with pytest.raises(CheckpointError, match='has no weights yet'):
        load_ensemble('sage_test')
    with pytest.raises(ConfigError, match='no tokens in common'):
        learn(tmp_path, Ensemble([untrained_model('sage_test')]), LossConfig(tokens=1.0))


def learn(folder, teacher, loss, steps=1):
    """Losses of a student of its own weights, step by step."""
    config = replace(
        CONFIG, steps=steps, epoch_steps=0, places_per_batch=16, views_per_place=1, loss=loss,
        sampler=replace(CONFIG.sampler, kind='places'), validation=ValidationConfig(share=0.0),
    )  # fmt: skip
    losses = []
    train(
        untrained_model('sage_test', 7), texture_views(), config, folder, teacher=teacher,
        watcher=Watcher(step=lambda step: losses.append(step.losses)),
    )  # fmt: skip
    return losses


def test_a_student_comes_to_agree_with_them(members, tmp_path):
    losses = learn(tmp_path / 'run', load_ensemble(members), LESSON, steps=40)
    assert set(losses[0]) == {'relations', 'similarities'}
    for name in losses[0]:
        course = [loss[name] for loss in losses]
        assert np.mean(course[-5:]) < 0.5 * np.mean(course[:3]), name


def test_a_record_names_files_without_folders():
    order = "sage_nano='/a b/c.safetensors' sage_vitti=x/vit.safetensors sage_test"
    assert without_folders(order) == 'sage_nano=c.safetensors sage_vitti=vit.safetensors sage_test'
    assert load_model('sage_nano').fingerprint  # a name alone takes the weights at hand
