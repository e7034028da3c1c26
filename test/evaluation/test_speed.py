"""Speed of models: the figures from their samples, one measurement in this process, the JSON."""

import copy
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from small_maps import full_disk

from vpr_ros.errors import ConfigError, DeviceError, WorkerError
from vpr_ros.evaluation import speed as speeds
from vpr_ros.evaluation import speed_plot, speed_row
from vpr_ros.evaluation.speed import check_output, measure_all, usual_models, write_whole
from vpr_ros.evaluation.speed_plot import draw_speed
from vpr_ros.evaluation.speed_record import Case, Row, Samples, Speed, digits, figures
from vpr_ros.evaluation.speed_row import camera_pictures, decode, measure, take_turns, weigh
from vpr_ros.models.registry import MODELS

NAMES = ('decode', 'preprocess', 'backbone', 'network', 'describe', 'eager', 'product')
TINY = Case('sage_test', precisions=('fp32',), repeat=3, camera=(48, 64))


def samples(**ms):
    """Three calls each; the median is the second figure."""
    times = dict(zip(NAMES, (1, 2, 6, 7, 10, 28, 5), strict=True)) | ms
    return Samples(
        {name: np.array([value, 3.0 * value, 0.5 * value]) for name, value in times.items()},
        flop=30 * 10**9, product_flop=10**10, cosine=0.9995,
    )  # fmt: skip


def row(**changes):
    found = figures(replace(TINY, batch=2), samples())
    whole = Row('sage_test', 'random', (70, 70), 2, 'cpu', 'fp32', 'torch', '', {}, found)
    return replace(whole, **changes)


def test_figures_follow_from_the_samples():
    found = figures(replace(TINY, batch=2), samples(authors=35.0))
    assert (found.p50_ms, found.network_ms, found.eager_fp32_ms) == (10, 7, 28)
    assert found.p95_ms == pytest.approx(28) and found.p99_ms == pytest.approx(29.6)
    assert found.images_per_s == pytest.approx(200)
    assert found.stages_ms == {'decode': 1, 'preprocess': 2, 'backbone': 6, 'head': 1}
    assert found.shares == {'decode': 0.1, 'preprocess': 0.2, 'backbone': 0.6, 'head': 0.1}
    assert (found.times_eager, found.times_authors) == (4, 5)
    assert found.gflop_per_image == 30
    assert found.backbone_tflops == pytest.approx(10)  # two images of 30 GFLOP in 6 ms
    assert (found.peak_tflops, found.peak_source) == (2, 'measured')


def test_a_given_peak_is_used():
    found = figures(replace(TINY, peak_tflops=20.0), samples())
    assert (found.peak_share, found.peak_source) == (pytest.approx(0.25), 'given')


def test_noise_never_makes_a_head_of_less_than_nothing():
    assert figures(TINY, samples(network=5.9)).stages_ms['head'] == 0


def test_the_json_holds_every_figure():
    speed = Speed({'torch': '2'}, (480, 640), 3, [row(load_mib=12.5)], ['x: failed'])
    found = json.loads(speed.to_json())
    assert next(iter(found)) == 'format' and found['format'] == 'vpr_ros speed 1'
    assert (found['camera'], found['repeat'], found['warm_up']) == ([480, 640], 3, 3)
    assert (found['machine'], found['failures']) == ({'torch': '2'}, ['x: failed'])
    assert set(found['rows'][0]) == {
        'model', 'weights', 'size', 'batch', 'device', 'precision', 'engine', 'reason', 'gpu',
        'load_mib', 'run_mib', 'p50_ms', 'p95_ms', 'p99_ms', 'images_per_s', 'stages_ms', 'shares',
        'gflop_per_image', 'backbone_tflops', 'peak_tflops', 'peak_source', 'peak_share',
        'network_ms', 'eager_fp32_ms', 'times_eager_fp32', 'cosine_to_fp32', 'authors_ms',
        'times_authors', 'cosine_to_authors',
    }  # fmt: skip
    assert (found['rows'][0]['load_mib'], found['rows'][0]['times_authors']) == (12.5, None)


def the_same(network):
    return copy.deepcopy(network)


def test_a_tiny_model_is_measured_beside_a_rival():
    told = []
    (found,) = measure(replace(TINY, batch=2, rival=the_same), told.append)
    assert (found.model, found.weights, found.size, found.batch) == (
        'sage_test', 'random', (70, 70), 2,
    )  # fmt: skip
    assert (found.device, found.precision, found.gpu) == ('cpu', 'fp32', {})
    assert told == [0, 0, 0, 1, 2, 3]
    timed = found.figures
    assert timed.cosine_to_fp32 > 0.99999 and timed.cosine_to_authors > 0.99999
    assert min(timed.p50_ms, timed.network_ms, timed.eager_fp32_ms, timed.authors_ms) > 0
    assert sum(timed.shares.values()) == pytest.approx(1)


def test_precisions_are_rows_of_one_run():
    rows = measure(replace(TINY, precisions=('fp32', 'auto')))
    assert rows[0].precision == 'fp32'
    assert rows[0].figures.eager_fp32_ms == rows[1].figures.eager_fp32_ms


def test_memory_is_weighed():
    load_mib, run_mib = weigh(TINY)
    assert load_mib is not None and run_mib is not None


def test_calls_take_turns_there_and_back():
    called = []
    groups = [{'a': lambda: called.append('a'), 'b': lambda: called.append('b')},
              {'c': lambda: called.append('c')}]  # fmt: skip
    first, second = take_turns(groups, 3, lambda done: None)
    assert ''.join(called) == 'cbaabc' * 3
    assert {name: len(ms) for name, ms in {**first, **second}.items()} == dict.fromkeys('abc', 3)


def test_the_pictures_of_a_batch_differ():
    pictures = [decode(jpeg) for jpeg in camera_pictures(replace(TINY, batch=3))]
    assert {picture.shape for picture in pictures} == {(48, 64, 3)}
    assert len({picture.tobytes() for picture in pictures}) == 3


def test_a_failure_of_torch_is_one_sentence(monkeypatch):
    def full(*_):
        raise RuntimeError('not enough memory: 9 GB\nsomewhere in a stack')

    monkeypatch.setattr(speed_row, 'time_and_compare', full)
    with pytest.raises(DeviceError, match='^it does not run here: not enough memory: 9 GB$'):
        measure(TINY)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'model': 'sage_big'}, "no model 'sage_big'"),
        ({'size': (70, 75)}, '70x75.*multiples of 14'),
        ({'size': (70, 28)}, 'size: expected at least 32 pixels a side, found 70x28'),
        ({'batch': 0}, 'batch: expected at least 1'),
        ({'repeat': 0}, 'repeat: expected at least 1'),
        ({'camera': (20, 640)}, 'camera: expected at least 32 pixels a side, found 20x640'),
        ({'peak_tflops': -1.0}, 'peak-tflops: expected more than 0'),
        ({'precisions': ('fp32', 'int3')}, "precision 'int3'"),
    ],
)
def test_a_case_that_cannot_be_is_refused_before_any_is_measured(change, words, monkeypatch):
    monkeypatch.setattr(speeds, 'call_in_fresh_process', None)
    with pytest.raises(ConfigError, match=words):
        measure_all([TINY, replace(TINY, **change)])


def test_what_fails_does_not_stop_the_others(monkeypatch):
    def instead(function, case, tell=None):
        if case.model == 'fol_test' or 'bf16' in case.precisions:
            raise WorkerError('the process ended')
        return (1.0, 2.0) if function is weigh else [row(model=case.model)]

    monkeypatch.setattr(speeds, 'call_in_fresh_process', instead)
    monkeypatch.setattr(Case, 'check', lambda case: None)
    told = []
    speed = measure_all(
        [replace(TINY, model='fol_test'), replace(TINY, precisions=('bf16', 'fp32'))],
        lambda done, total: told.append((done, total)),
    )
    assert [(r.model, r.load_mib, r.run_mib) for r in speed.rows] == [('sage_test', 1.0, 2.0)]
    assert speed.failures == [
        'fol_test, batch 1, fp32: the process ended',
        'sage_test, batch 1, bf16: the process ended',
    ]
    assert told == [(0, 6), (3, 6)]


def test_the_usual_models_exist_and_are_fit_for_a_robot():
    names = usual_models('cpu')
    assert 'sage_nano' in names and set(names) <= set(MODELS)
    assert set(names) < set(speeds.ON_A_GPU) <= set(MODELS)


def test_bars_name_what_they_are_compared_with():
    found = figures(TINY, samples(authors=35.0))
    bars = speed_plot.bars([row(batch=1, figures=found)])
    assert [bar.kind for bar in bars] == [speed_plot.AUTHORS, speed_plot.EAGER, 'fp32']
    assert [bar.label for bar in bars] == ['35.0 ms', '28.0 ms, 1.2 x', '7.00 ms, 5.0 x']


@pytest.mark.parametrize('slow', [1.0, 1e4])
def test_the_plot_is_a_picture(slow, monkeypatch):
    labels = []
    savefig = Figure.savefig
    monkeypatch.setattr(
        Figure, 'savefig', lambda figure, *a, **k: (
            labels.extend(text.get_text() for text in figure.axes[0].texts),
            savefig(figure, *a, **k),
        ),
    )  # fmt: skip
    rows = [
        row(),
        row(precision='bf16'),
        row(model='x', figures=figures(TINY, samples(eager=slow))),
    ]
    picture = Image.open(io.BytesIO(draw_speed(Speed({}, (48, 64), 3, rows, []))))
    assert min(picture.size) > 300
    assert labels[:3] == ['14.0 ms', '3.50 ms, 4.0 x', '3.50 ms, 4.0 x']


def test_files_are_written_whole_or_refused_first(tmp_path):
    with pytest.raises(ConfigError, match='no folder .*nowhere'):
        check_output(tmp_path / 'nowhere' / 'x.json')
    with pytest.raises(ConfigError, match=r'ends in .png or .svg'):
        check_output(tmp_path / 'x.gif', ('.png', '.svg'))
    check_output(tmp_path / 'x.png', ('.png', '.svg'))
    write_whole(tmp_path / 'x.json', b'{}')
    assert [path.name for path in tmp_path.iterdir()] == ['x.json']
    with pytest.raises(TypeError):
        write_whole(tmp_path / 'y.json', None)
    assert [path.name for path in tmp_path.iterdir()] == ['x.json']


def test_three_digits():
    assert [digits(value) for value in (0.00123456, 7.0, 12.345, 1490.4)] == [
        '0.00123', '7.00', '12.3', '1490',
    ]  # fmt: skip


def test_a_file_that_finds_no_room_is_named(tmp_path):
    with full_disk(100), pytest.raises(OSError, match='x.json') as error:
        write_whole(tmp_path / 'x.json', bytes(10_000))
    assert error.value.filename == str(tmp_path / 'x.json')
    assert list(tmp_path.iterdir()) == []
