"""Intervals come from blocks, from a seed, and hold the figure they belong to."""

import numpy as np
import pytest

from vpr_ros.evaluation.bootstrap import GRID, block_weights, bootstrap, default_block
from vpr_ros.evaluation.precision_recall import Scored, average_precision, curve


def drive(count=200, seed=0):
    rng = np.random.default_rng(seed)
    correct = rng.random(count) < 0.6
    score = rng.normal(correct * 1.0, 0.7)
    return Scored(score, correct, np.arange(count), count), np.ones(count, bool), correct


def resample(table, **more):
    scored, has_positive, correct = table
    return bootstrap(
        scored, has_positive=has_positive, found_first=correct, **{'block': 5, **more}
    )


def test_the_same_seed_gives_the_same_intervals():
    one, two, other = (resample(drive(), replicates=50, seed=s) for s in (1, 1, 2))
    assert one.intervals == two.intervals
    assert np.array_equal(one.band_low, two.band_low, equal_nan=True)
    assert one.intervals != other.intervals


def test_intervals_hold_the_figure_and_have_the_width_of_the_binomial():
    table = drive(400)
    result = resample(table, replicates=400, block=1)
    found = result.intervals['average_precision']
    assert found.low < average_precision(curve(table[0])) < found.high
    first = result.intervals['recall_at_1']
    share = table[2].mean()
    assert first.high - first.low == pytest.approx(2 * 1.96 * (share * (1 - share) / 400) ** 0.5,
                                                   rel=0.2)  # fmt: skip
    assert (result.band_low <= result.band_high)[np.isfinite(result.band_low)].all()


def test_long_blocks_widen_the_interval_of_a_drive_that_is_right_in_stretches():
    correct = np.repeat(np.random.default_rng(0).random(20) < 0.5, 20)
    scored = Scored(np.linspace(1, 0, 400), correct, np.arange(400), 400)
    table = scored, np.ones(400, bool), correct
    short, long = (resample(table, replicates=200, block=b).intervals for b in (1, 20))
    width = [i['recall_at_1'].high - i['recall_at_1'].low for i in (short, long)]
    assert width[1] > 1.5 * width[0]


def test_blocks_wrap_around_and_draw_as_many_as_there_are():
    rng = np.random.default_rng(0)
    for count, block in ((10, 3), (10, 10), (7, 20), (1, 1)):
        weights = block_weights(count, block, rng)
        assert weights.sum() == count
        assert len(weights) == count
    assert (block_weights(10, 10, rng) == 1).all()


def test_every_item_is_drawn_equally_often():
    rng = np.random.default_rng(0)
    total = sum(block_weights(20, 6, rng) for _ in range(4000))
    assert total.mean() == 4000
    assert np.abs(total - 4000).max() < 300


def test_replicates_without_anything_to_find_are_left_out():
    correct = np.zeros(30, bool)
    correct[3] = True
    scored = Scored(np.linspace(1, 0, 30), correct, np.arange(30), 1)
    result = bootstrap(scored, has_positive=correct, found_first=correct, block=1, replicates=60)
    assert result.intervals['recall_at_1'].low == 1.0
    assert result.band_low.shape == GRID.shape


@pytest.mark.parametrize(
    ('count', 'drive', 'block'), [(100, True, 10), (100, False, 1), (1, True, 1)]
)
def test_the_default_block_is_the_root_of_the_length_of_a_drive(count, drive, block):
    assert default_block(count, drive) == block
