"""The recipes in config/ are settings of models that can be trained with them."""

from pathlib import Path

import pytest
import torch

from vpr_ros.config import TrainConfig, load
from vpr_ros.models.place_model import PlaceModel
from vpr_ros.models.registry import MODELS
from vpr_ros.training.ensemble import Ensemble
from vpr_ros.training.objective import check_losses

RECIPES = sorted(Path(__file__).resolve().parents[2].glob('config/train_*.yaml'))


@pytest.mark.parametrize('path', RECIPES, ids=lambda path: path.stem)
def test_a_recipe_fits_its_model(path):
    config = load(TrainConfig, path)
    with torch.device('meta'):
        model = PlaceModel(
            config.model, MODELS[config.model].network(), MODELS[config.model].input
        )
    taught = config.loss.tokens or config.loss.relations or config.loss.similarities
    teacher = (Ensemble(()) if config.teacher_view == 'models' else object()) if taught else None
    check_losses(model, config, teacher)
    assert config.steps % (config.epoch_steps or config.steps) == 0
    assert config.sampler.kind == 'places' or config.views_per_place > 1


def test_there_are_recipes():
    assert len(RECIPES) >= 4
