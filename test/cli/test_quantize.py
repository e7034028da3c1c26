"""`vpr weights quantize`: pictures of several sources, and ranges in the cache."""

import re

import cv2
import numpy as np
import pytest
from small_drive import write_drive

from vpr_ros.cli.main import main
from vpr_ros.cli.quantize import PICTURES, pictures, step
from vpr_ros.errors import BagError
from vpr_ros.models.engines import compiled, processor
from vpr_ros.synthetic import demo

needs_int8 = pytest.mark.skipif(
    not (compiled.can_compile() and processor.first_of(processor.INT8)),
    reason='NEEDS INT8: OpenVINO and a processor with products of 8 bits',
)


def noise(count):
    rng = np.random.default_rng(0)
    return iter(rng.integers(0, 256, (count, 40, 60, 3), dtype=np.uint8))


def test_of_many_images_some_are_taken_evenly(tmp_path):
    (tmp_path / 'deep').mkdir()
    for n in range(2 * PICTURES + 1):
        cv2.imwrite(str(tmp_path / 'deep' / f'{n:03d}.png'), np.full((2, 2), n, np.uint8))
    found = pictures(tmp_path)
    assert [int(x[0, 0, 0]) for x in found[:3]] == [0, 3, 6]
    assert len(found) <= PICTURES
    assert [step(n) for n in (0, 1, PICTURES, PICTURES + 1)] == [1, 1, 1, 2]


def test_a_recording_gives_its_pictures(tmp_path):
    write_drive(tmp_path / 'drive')
    found = pictures(tmp_path / 'drive')
    assert found and all(x.dtype == np.uint8 and x.ndim == 3 for x in found)


def test_what_is_no_source_of_pictures_is_refused(tmp_path):
    with pytest.raises(BagError, match='no recording'):
        pictures(tmp_path)


@needs_int8
def test_it_writes_ranges_and_says_how_near_they_keep_fp32(
    tiny_weights, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setattr(demo, 'demo_pictures', noise)
    write_drive(tmp_path / 'drive')
    given = ['--weights', str(tiny_weights), '--images', str(tmp_path / 'drive')]
    assert main(['weights', 'quantize', 'sage_test', *given]) == 0
    file = next((tmp_path / 'cache' / 'vpr_ros').glob('sage_test-*.int8.safetensors'))
    out = capsys.readouterr().out
    assert re.search(
        r'\.int8\.safetensors: cosine to fp32 [01]\.\d{4}, at least .* of 109 pictures', out
    )
    assert str(file) in out
