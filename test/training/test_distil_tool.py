"""`tools.distil`: groups of near views, lessons kept on disk, and an end that learns from them."""

import json
import sys

import numpy as np
import pytest
import torch
from small_views import texture_views, write_textures

from tools.distil import __main__ as command
from tools.distil import lessons as kept
from tools.distil.groups import VIEWS, Groups
from tools.distil.learn import Course, Memory, learn, losses
from tools.distil.lessons import FROZEN, trunk, write_lessons
from tools.distil.teachers import open_teachers, whitened
from vpr_ros.errors import DatasetError
from vpr_ros.models import save_checkpoint
from vpr_ros.models.registry import load_model
from vpr_ros.training.distill import Teacher


@pytest.fixture
def groups():
    return Groups(*(texture_views(seed=seed) for seed in range(3)))


def test_a_group_depends_on_its_number_and_seed_alone(groups):
    some = [groups.draw(number, 1) for number in range(9)]
    assert all(views.shape == (VIEWS, 240, 320, 3) for views in some)
    assert np.array_equal(groups.draw(5, 1), some[5])
    assert not np.array_equal(groups.draw(5, 2), some[5])


def grey_views(groups, kind):
    numbers = [n for n in range(48) if groups.kind(n) == kind]
    return [[bool(np.ptp(view.astype(int), axis=2).mean() < 12) for view in groups.draw(n, 1)]
            for n in numbers]  # fmt: skip


@pytest.mark.parametrize('kind', ['seconds', 'places', 'walk'])
def test_the_views_of_a_group_of_near_ones_have_one_camera(groups, kind):
    grey = grey_views(groups, kind)
    assert {all(views) for views in grey} == {True, False}
    assert all(len(set(views)) == 1 for views in grey)


def test_photographs_are_seen_by_a_camera_for_each_view(groups):
    assert any(set(views[:2]) == {True, False} for views in grey_views(groups, 'photographs'))


def test_groups_are_of_the_kinds_that_are_asked_for(groups):
    some = Groups(groups.tower, groups.survey, groups.photos, kinds=['walk', 'photographs'])
    assert [some.kind(n) for n in range(3)] == ['walk', 'photographs', 'walk']


@torch.no_grad()
def test_behind_the_trunk_the_network_ends_as_without_it():
    network = load_model('sage_nano').network
    images = torch.rand(2, 3, 240, 240, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network(trunk(network, images)), network(images))


def test_losses_are_zero_where_nothing_is_missing_and_by_hand_where_something_is():
    rows = torch.nn.functional.normalize(torch.randn(6, 8), dim=1)
    assert [round(part.item(), 6) for part in losses(rows, rows, rows, rows)] == [0.0, 0.0]
    found = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    wanted = torch.tensor([[1.0, 0.0], [0.8, 0.6]])
    divergence, squares = losses(found, wanted, found, wanted)
    assert divergence.item() == 0.0  # each has one neighbour, whatever its cosine
    assert squares.item() == pytest.approx(100 * 0.2**2, rel=1e-5)


def test_memory_gives_earlier_batches_behind_the_new_one():
    memory = Memory(rows=2)
    for number in range(3):
        found, wanted = memory.beside(torch.full((1, 1), number), torch.full((1, 1), 10 + number))
    assert (found.flatten().tolist(), wanted.flatten().tolist()) == ([2, 0, 1], [12, 10, 11])


@pytest.fixture
def lessons(groups, tmp_path, monkeypatch):
    """Lessons of a teacher that is the student with a head of its own."""
    monkeypatch.setattr(kept, 'CHUNK', 12)
    teacher = load_model('sage_nano')
    torch.manual_seed(3)
    for parameter in teacher.network.aggregator.parameters():
        parameter.data += 0.5 * parameter.abs().mean() * torch.randn_like(parameter)
    save_checkpoint(teacher, tmp_path / 'teacher.safetensors', {})
    [teacher] = open_teachers(f"'sage_nano={tmp_path}/teacher.safetensors'", [])
    folder, student = tmp_path / 'lessons', load_model('sage_nano')
    write_lessons(folder, ['held_out'], groups, 9, student, [teacher])
    write_lessons(folder, ['1_0', '1_1'], groups, 1, student, [teacher])
    return folder


def test_the_end_comes_nearer_to_the_teacher_and_the_trunk_stays(lessons):
    model = load_model('sage_nano')
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    looks = list(learn(model.network, lessons, Course(12, groups=2, average=0.5)))
    assert looks[-1]['batch'] == 12
    assert looks[-1]['squares'] < looks[0]['squares']
    after = model.network.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    frozen = ('backbone.patch_embed', 'backbone.cls', 'backbone.pos', 'gpn_norms.0.',
              *(f'backbone.blocks.{number}.' for number in range(FROZEN)))  # fmt: skip
    assert changed and not any(name.startswith(frozen) for name in changed)


def test_lessons_that_are_missing_are_told(lessons):
    assert list(kept.read_lessons(lessons / '1_0.npz').kinds) == [0, 1, 2]
    (lessons / '1_1.npz').unlink()  # which has photographs
    course = Course(3, shares=(0.0, 0.0, 0.0, 1.0))
    with pytest.raises(DatasetError, match='expected lessons of photographs, found none'):
        list(learn(load_model('sage_nano').network, lessons, course))


def test_lessons_that_are_there_are_kept(lessons, groups):
    before = (lessons / '1_0.npz').stat().st_mtime_ns
    write_lessons(lessons, ['1_0', '1_1'], groups, 1, load_model('sage_nano'), [])
    assert (lessons / '1_0.npz').stat().st_mtime_ns == before
    assert not list(lessons.glob('*.tmp'))


def test_a_threshold_is_written_with_what_it_does(tmp_path, monkeypatch):
    start, notes = tmp_path / 'start.safetensors', tmp_path / 'notes.json'
    save_checkpoint(load_model('sage_nano'), start, {'distilled': {'batch': 7}})
    notes.write_text(json.dumps({'card': 'docs/sage_nano.md'}))
    data = str(write_textures(tmp_path / 'data'))
    out = tmp_path / 'out.safetensors'
    monkeypatch.setattr(
        sys, 'argv',
        ['distil', 'threshold', str(start), '--data', data, '--notes', str(notes), '-o', str(out)],
    )  # fmt: skip
    assert command.main() == 0
    model = load_model('sage_nano', out)
    assert 0.0 < model.similarity_threshold < 1.0
    header = command.read_header(out).provenance
    assert header['card'] == 'docs/sage_nano.md' and header['distilled'] == {'batch': 7}
    assert set(header['accepted_genuine']) == set(header['accepted_impostors']) != set()


def test_a_whitened_backbone_finds_each_picture_by_itself():
    torch.manual_seed(0)
    views = texture_views()
    describe = whitened(Teacher(1, whitened=True).eval(), [views])
    pictures = [views.pictures.read(row) for row in range(20)]
    rows = describe(pictures)
    assert rows.shape == (20, 3 * 192)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(describe(pictures[3:4]) @ rows[3], 1.0, atol=2e-3)
