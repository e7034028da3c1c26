"""Our tiny models answer today what they answered when their answers were kept."""

import json

import numpy as np
import pytest
from golden_outputs import FILE, NETWORKS, answers, summary, uniform

GOLDEN = json.loads(FILE.read_text(encoding='utf-8'))


def test_every_network_is_kept():
    assert set(GOLDEN) == set(NETWORKS)


def test_numbers_are_the_same_everywhere():
    assert uniform(2, 3).tolist() == [0.8983778301626444, -0.6660268013365567]
    assert abs(uniform(10_000, 0).mean()) < 0.02
    assert np.std(uniform(10_000, 0)) == pytest.approx(1 / 3**0.5, abs=0.02)


@pytest.mark.parametrize('name', NETWORKS)
def test_answers_are_the_kept_ones(name):
    found = {what: summary(value) for what, value in answers(name).items()}
    assert found.keys() == GOLDEN[name].keys()
    for what, kept in GOLDEN[name].items():
        assert found[what]['shape'] == kept['shape'], what
        assert found[what]['magnitude'] == pytest.approx(kept['magnitude'], rel=1e-5), what
        np.testing.assert_allclose(
            found[what]['values'], kept['values'], atol=1e-5 * max(1.0, kept['magnitude']),
            err_msg=what,
        )  # fmt: skip
        assert kept['magnitude'] > 0
