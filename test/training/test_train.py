"""The loop learns, repeats itself exactly, goes on exactly, and stops at nonsense."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_views import CONFIG, texture_views, textures, write_textures

from vpr_ros.config import LossConfig, TrainConfig, ValidationConfig
from vpr_ros.errors import CheckpointError, ConfigError, DatasetError
from vpr_ros.models.networks.dinov2 import VIT_TINY, VisionTransformer
from vpr_ros.models.registry import untrained_model
from vpr_ros.training.distill import load_teacher
from vpr_ros.training.job import Job, carry_out, get_ready
from vpr_ros.training.train import Watcher, train


@pytest.fixture(scope='module')
def views():
    return texture_views()


def fresh(name='sage_test'):
    return untrained_model(name)


def bits(model):
    return torch.cat([p.detach().flatten() for p in model.network.parameters()])


def recall(model, images, places):
    from vpr_ros.image import to_tensor

    with torch.inference_mode():
        x = torch.cat([model.network(to_tensor(image, model.input)) for image in images])
    similarity = (x @ x.T).fill_diagonal_(-2)
    return (places[similarity.argmax(dim=1).numpy()] == places).mean()


def test_training_separates_places(views, tmp_path):
    model, losses, looks = fresh(), [], []
    places, unseen = np.repeat(np.arange(12), 4), list(textures(12, seed=7))
    before = recall(model, unseen, places)
    watcher = Watcher(
        step=lambda step: losses.append(step.losses['similarity']),
        score=lambda step, score: looks.append((step, score.recall_at_1)),
    )
    result = train(model, views, CONFIG, tmp_path, watcher=watcher)
    assert np.mean(losses[-8:]) < 0.98 * np.mean(losses[:4])
    assert recall(model, unseen, places) > before + 0.1
    assert not model.network.training
    assert [step for step, _ in looks] == [0, 10, 20, 30, 40]
    (_, began_with), *later = looks
    assert result.recall_before == began_with
    assert (result.best_step, result.best_recall_at_1) == max(later, key=lambda look: look[1])


def test_same_seed_same_weights_bit_for_bit(views, tmp_path):
    short, weights = replace(CONFIG, steps=4, epoch_steps=0), []
    for run, (seed, threads) in enumerate([(0, 1), (0, 3), (1, 1)]):
        model = fresh()
        train(model, views, replace(short, seed=seed, decoders=threads), tmp_path / str(run))
        weights.append(bits(model))
    assert torch.equal(weights[0], weights[1])  # whatever the number of decoders
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize('kind', ['sage', 'places', 'cliques'])
@pytest.mark.parametrize('stop_after', [3, 10, 17])
def test_stopped_and_resumed_is_the_same_bit_for_bit(views, tmp_path, kind, stop_after):
    config = replace(CONFIG, steps=24, sampler=replace(CONFIG.sampler, kind=kind))
    whole, parts, count = fresh(), fresh(), []
    train(whole, views, config, tmp_path / 'whole')
    watcher = Watcher(step=count.append, stop=lambda: len(count) == stop_after)
    result = train(parts, views, config, tmp_path / 'parts', watcher=watcher)
    assert not result.finished
    assert result.steps == stop_after
    parts = fresh()
    assert train(parts, views, config, tmp_path / 'parts', resume=True).finished
    assert torch.equal(bits(whole), bits(parts))
    logs = [(tmp_path / name / 'log.jsonl').read_text() for name in ('whole', 'parts')]
    assert logs[0] == logs[1]


def test_a_step_of_several_batches_draws_them_all(views, tmp_path):
    config = replace(CONFIG, steps=4, epoch_steps=2, accumulate=3)
    whole, parts, count = fresh(), fresh(), []
    train(whole, views, config, tmp_path / 'whole')
    stop = Watcher(step=count.append, stop=lambda: len(count) == 3)
    train(parts, views, config, tmp_path / 'parts', watcher=stop)
    from vpr_ros.training.state import load_state

    plan = load_state(tmp_path / 'parts/state.safetensors').part('plan')
    assert plan['images'].shape == (2 * 3, 8 * 3)
    parts = fresh()
    train(parts, views, config, tmp_path / 'parts', resume=True)
    assert torch.equal(bits(whole), bits(parts))


def test_early_stop_and_best_weights(views, tmp_path):
    """A learning rate of nothing: the first look is never beaten."""
    config = replace(
        CONFIG, learning_rate=0.0, validation=ValidationConfig(share=0.2, every=3, patience=2)
    )
    result = train(fresh(), views, config, tmp_path)
    assert (result.steps, result.best_step) == (9, 3)
    assert 'no better recall@1' in result.reason


def test_the_recall_of_the_start_is_known_after_an_interruption(views, tmp_path):
    config, count = replace(CONFIG, steps=4), []
    stop = Watcher(step=count.append, stop=lambda: len(count) == 2)
    began_with = train(fresh(), views, config, tmp_path, watcher=stop).recall_before
    looks = []
    watcher = Watcher(score=lambda step, score: looks.append(step))
    result = train(fresh(), views, config, tmp_path, resume=True, watcher=watcher)
    assert looks == [4]
    assert result.recall_before == began_with is not None


def test_without_held_out_places_the_last_average_is_kept(views, tmp_path):
    config = replace(CONFIG, steps=3, validation=ValidationConfig(share=0.0))
    result = train(fresh(), views, config, tmp_path)
    assert result.best_step is None
    assert result.recall_before is None
    assert result.finished


def test_a_picture_torn_in_the_middle_is_skipped_and_named(tmp_path):
    lost, torn = [], texture_views(broken=(5, 40))
    config = replace(CONFIG, steps=12, validation=ValidationConfig(share=0.0))
    result = train(fresh(), torn, config, tmp_path, watcher=Watcher(lost=lost.append))
    assert result.finished
    assert sorted(item.name for item in lost) == ['texture 40', 'texture 5']
    assert 'texture 5 is torn' in [item.reason for item in lost]
    assert len(result.lost) == 2


def test_all_pictures_torn_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match='none of the .* pictures'):
        train(fresh(), texture_views(broken=tuple(range(96))), CONFIG, tmp_path)


def test_nan_stops_with_the_step(views, tmp_path):
    model = fresh()
    with torch.no_grad():
        model.network.backbone.cls_token.fill_(torch.nan)
    places = replace(CONFIG, sampler=replace(CONFIG.sampler, kind='places'))
    with pytest.raises(DatasetError, match='at step 0'):
        train(model, views, places, tmp_path)


def test_the_log_is_json_lines(views, tmp_path):
    train(fresh(), views, replace(CONFIG, steps=3), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / 'log.jsonl').read_text().splitlines()]
    assert [line['step'] for line in lines] == [0, 0, 1, 2, 2]
    assert lines[1]['loss']['similarity'] > 0
    assert lines[1]['active_pairs'] > 0
    assert all(0 <= lines[number]['recall_at_1'] <= 1 for number in (0, 4))


def test_a_run_is_not_overwritten_and_another_one_not_resumed(views, tmp_path):
    short = replace(CONFIG, steps=3)
    train(fresh(), views, short, tmp_path)
    with pytest.raises(CheckpointError, match='go on with --resume'):
        train(fresh(), views, short, tmp_path)
    with pytest.raises(CheckpointError, match='learning_rate = 0.005, found 0.1'):
        train(fresh(), views, replace(short, learning_rate=0.1), tmp_path, resume=True)
    with pytest.raises(CheckpointError, match='starting weights'):
        train(untrained_model('sage_test', 5), views, short, tmp_path, resume=True)
    with pytest.raises(CheckpointError, match='data = '):
        train(fresh(), texture_views(seed=3), short, tmp_path, resume=True)
    with pytest.raises(CheckpointError, match='model = sage_test, found folpp_test'):
        other = replace(short, model='folpp_test')
        train(fresh('folpp_test'), views, other, tmp_path, resume=True)
    with pytest.raises(CheckpointError, match='no saved training'):
        train(fresh(), views, short, tmp_path / 'elsewhere', resume=True)
    assert train(fresh(), views, short, tmp_path, resume=True).finished  # nothing was lost


def test_teacher_losses_without_a_teacher(views, tmp_path):
    config = TrainConfig(model='sage_test', loss=LossConfig(tokens=1.0))
    with pytest.raises(ConfigError, match='need teacher weights'):
        train(fresh(), views, config, tmp_path)


@pytest.fixture
def teacher_file(tmp_path):
    from safetensors.torch import save_file

    torch.manual_seed(3)
    weights = VisionTransformer(VIT_TINY).state_dict()
    save_file({**weights, 'head.weight': torch.zeros(2, 192)}, tmp_path / 'teacher.safetensors')
    return tmp_path / 'teacher.safetensors'


def test_a_job_with_a_teacher_is_carried_out_to_its_end(teacher_file, tmp_path):
    config = TrainConfig(
        model='sage_nano', scratch=True, device='cpu', steps=1, places_per_batch=4,
        views_per_place=2, teacher=str(teacher_file), loss=LossConfig(tokens=1.0),
        sampler=replace(CONFIG.sampler, kind='places'), validation=ValidationConfig(share=0.0),
    )  # fmt: skip
    data = write_textures(tmp_path / 'data')
    ready = get_ready(Job(config, (str(data),), tmp_path / 'mine.safetensors', tmp_path / 'run'))
    assert carry_out(ready, Watcher()).header.model == 'sage_nano'
    assert (tmp_path / 'mine.safetensors').exists()


def test_a_student_learns_from_a_teacher(views, teacher_file, tmp_path):
    """On another patch grid than the teacher's the tokens would not correspond: nano fits."""
    config = TrainConfig(
        scratch=True, device='cpu', steps=14, places_per_batch=4, views_per_place=1,
        learning_rate=1e-3, loss=LossConfig(similarity=0.0, tokens=1.0, relations=1.0),
        sampler=replace(CONFIG.sampler, kind='places'), validation=ValidationConfig(share=0.0),
    )  # fmt: skip
    losses = []
    train(
        untrained_model('sage_nano'), views, config, tmp_path,
        teacher=load_teacher(teacher_file, 192),
        watcher=Watcher(step=lambda step: losses.append(step.losses)),
    )  # fmt: skip
    assert set(losses[0]) == {'tokens', 'relations'}
    tokens = [loss['tokens'] for loss in losses]
    assert np.mean(tokens[-3:]) < np.mean(tokens[:3])


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


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({'loss': LossConfig(similarity=0.0)}, 'every loss has weight 0'),
        ({'image_size': 75}, 'multiple of the patch of 14, found 75'),
        ({'precision': 'fp16', 'device': 'cpu'}, 'fp16 trains on a GPU only'),
        ({'stored_views': 2, 'trainable': 'whole'}, 'stored_views needs frozen blocks'),
    ],
)
def test_settings_that_cannot_work_are_refused_before_the_first_step(
    views, tmp_path, settings, words
):
    steps = []
    with pytest.raises(ConfigError, match=words):
        train(
            fresh(), views, replace(CONFIG, **settings), tmp_path,
            watcher=Watcher(step=steps.append),
        )  # fmt: skip
    assert steps == []


@pytest.mark.parametrize('name', ['fol_test', 'folpp_test'])
def test_fol_trains_all_its_terms(views, tmp_path, name):
    config = replace(CONFIG, model=name, steps=2, trainable='whole')
    seen = []
    train(
        fresh(name), views, config, tmp_path, watcher=Watcher(step=lambda s: seen.append(s.losses))
    )
    assert set(seen[0]) == {
        'similarity', 'local', 'alignment', 'separation', 'correspondences',
    }  # fmt: skip
