"""The report is whole, self-contained, and says what happened in words."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from vpr_ros.errors import DatasetError
from vpr_ros.evaluation import report as reports
from vpr_ros.evaluation.evaluate import (
    DescribedSet,
    Options,
    evaluate_descriptors,
    score_recognitions,
)
from vpr_ros.evaluation.page import mood
from vpr_ros.evaluation.plots import PLOTS, draw
from vpr_ros.evaluation.protocols import Track, TruthRule, labelled
from vpr_ros.evaluation.report import write_report
from vpr_ros.evaluation.result import Setup
from vpr_ros.evaluation.strips import WIDTH, choose, draw_strip, spaced, thumbnails
from vpr_ros.evaluation.theme import DARK, LIGHT
from vpr_ros.evaluation.words import facts, headline, remark, settings
from vpr_ros.records import Candidate, Place, Recognition, Timings, Verdict

S = 1_000_000_000
RULE = TruthRule('ring', 2.0, gap_s=5.0)
LENGTH = 24


def ring(laps=2, noise=0.7):
    """Laps of a ring of 24 places, two metres apart, with looks that change a little."""
    rng = np.random.default_rng(0)
    look = np.tile(rng.normal(size=(LENGTH, 16)), (laps, 1))
    look += noise * rng.normal(size=look.shape)
    look /= np.linalg.norm(look, axis=1, keepdims=True)
    angle = 2 * np.pi * np.arange(laps * LENGTH) / LENGTH
    positions = 8 * np.column_stack((np.cos(angle), np.sin(angle), 0 * angle))
    return DescribedSet(look, Track(np.arange(len(angle)) * S, positions))


def pictures(count):
    shades = np.linspace(0, 255, count).astype(np.uint8)
    return [np.full((30, 40, 3), shade) for shade in shades]


@pytest.fixture
def one_plot(monkeypatch):
    """Drawing is slow, and most promises do not need every figure."""
    monkeypatch.setattr(reports, 'PLOTS', {'recall': PLOTS['recall']})


def evaluation(drive=None, threshold=0.7, **more):
    return evaluate_descriptors(drive or ring(), None, RULE, threshold=threshold,
                                options=Options(replicates=20), **more)  # fmt: skip


def links(html):
    found = []

    class Links(HTMLParser):
        def handle_starttag(self, tag, attributes):
            found.extend(v for k, v in attributes if k in ('src', 'srcset', 'href'))

    Links().feed(html)
    return found


def test_the_page_shows_every_file_beside_it_and_nothing_else(tmp_path):
    page = write_report(evaluation(), tmp_path / 'out', pictures(48))
    html = page.read_text()
    files = {p.relative_to(page.parent).as_posix() for p in page.parent.rglob('*') if p.is_file()}
    assert set(links(html)) == files - {'index.html'}
    assert '<script' not in html
    assert 'http' not in html
    assert {f'{name}.png' for name in PLOTS} <= files
    assert {f'{name}_dark.png' for name in PLOTS} <= files
    json.loads((page.parent / 'evaluation.json').read_text(), parse_constant=pytest.fail)
    for name in files:
        if name.endswith(('.png', '.jpg')):
            with Image.open(page.parent / name) as picture:
                picture.verify()
    assert not list(tmp_path.glob('.*'))


def test_the_page_says_first_what_happened(tmp_path, one_plot):
    found = evaluation(setup=Setup('a <ring> & more', 'looks'))
    html = write_report(found, tmp_path / 'out').read_text()
    title = re.search('<h1.*?>(.*)</h1>', html)[1]
    count = found.closures
    assert title == headline(found)
    assert title.startswith(f'{count.correct} of {count.matchable} revisits recognised, ')
    assert 'a &lt;ring&gt; &amp; more · looks' in html
    assert '<ring>' not in html


def test_without_images_there_are_no_strips(tmp_path, one_plot):
    page = write_report(evaluation(), tmp_path / 'out')
    assert not (page.parent / 'strips').exists()


def test_an_older_report_is_replaced_and_a_foreign_folder_is_not(tmp_path, one_plot):
    folder = tmp_path / 'out'
    write_report(evaluation(), folder, pictures(48))
    (folder / 'left_over.txt').write_text('from before')
    write_report(evaluation(), folder)
    assert not (folder / 'left_over.txt').exists()
    (folder / 'evaluation.json').write_text('{"other": 1}')
    with pytest.raises(DatasetError, match='not a report of ours'):
        write_report(evaluation(), folder)
    assert (folder / 'evaluation.json').read_text() == '{"other": 1}'
    file = tmp_path / 'file'
    file.write_text('mine')
    with pytest.raises(DatasetError, match='not a report of ours'):
        write_report(evaluation(), file)
    (tmp_path / 'empty').mkdir()
    assert write_report(evaluation(), tmp_path / 'empty').exists()


def test_a_report_that_fails_leaves_the_older_one_and_no_parts(tmp_path, monkeypatch, one_plot):
    folder = tmp_path / 'out'
    write_report(evaluation(), folder)
    before = (folder / 'index.html').read_text()
    monkeypatch.setattr(reports, 'page', lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(evaluation(ring(noise=0)), folder)
    assert (folder / 'index.html').read_text() == before
    assert [p.name for p in tmp_path.iterdir()] == ['out']


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(DatasetError, match='cannot be written'):
        write_report(evaluation(), tmp_path / 'file' / 'out')


def degenerate():
    alone = DescribedSet(np.eye(4)[:1], Track(np.zeros(1, np.int64), np.zeros((1, 3))))
    stranger = ring(laps=1)
    labels = DescribedSet(np.eye(4))
    options = Options(replicates=5)
    yield evaluate_descriptors(alone, None, RULE, options=options)
    yield evaluate_descriptors(stranger, None, RULE, threshold=0.0, options=options)
    yield evaluate_descriptors(stranger, None, RULE, threshold=1.0, options=options)
    yield evaluate_descriptors(stranger, stranger, RULE, options=options)
    yield evaluate_descriptors(labels, labels, labelled(np.eye(4, dtype=bool)), options=options)
    yield evaluate_descriptors(labels, labels, labelled(np.zeros((4, 4), bool)), options=options)


@pytest.mark.parametrize('number', range(6))
def test_degenerate_evaluations_have_a_page_too(tmp_path, number):
    found = list(degenerate())[number]
    html = write_report(found, tmp_path / 'out', pictures(24), pictures(24), strips=2).read_text()
    assert 'nan' not in html.lower()
    assert 'None' not in html


@pytest.mark.parametrize(
    ('drive', 'threshold', 'text'),
    [
        (ring(noise=0), 0.9, '24 of 24 revisits recognised, 0 false closures'),
        (ring(laps=1), 1.0, 'No place was seen twice: 0 false closures in 24 images'),
        (ring(laps=1), -1.0, 'No place was seen twice: 19 false closures in 24 images'),
    ],
)
def test_headlines(drive, threshold, text):
    assert headline(evaluation(drive, threshold)) == text


def test_without_a_revisit_the_rule_is_told():
    told = remark(evaluation(ring(laps=1), 1.0))
    assert 'By the rule ring: at most 2 m away, at least 5 s earlier.' in told
    assert 'By the rule' not in remark(evaluation())


def test_a_headline_is_green_where_most_was_recognised():
    some, most = evaluation(ring(noise=0.7), 0.8), evaluation(ring(noise=0), 0.9)
    assert 0 < 2 * some.closures.correct < some.closures.matchable and not some.closures.wrong
    assert (mood(some), mood(most)) == ('', 'good')


def test_rounding_is_not_drawn_as_news():
    same = np.tile(np.eye(16)[:1], (2 * LENGTH, 1)) * (1 + 1e-6 * np.arange(48)[:, None])
    figure = draw('timeline', evaluation(DescribedSet(same, ring().track), 1.0), LIGHT)
    low, high = figure.axes[0].get_ylim()
    assert high - low == pytest.approx(0.1)


def test_hindsight_is_confessed_and_a_given_threshold_is_not():
    assert headline(evaluation(threshold=None)).endswith('in hindsight')
    assert 'not a result to expect' in remark(evaluation(threshold=None))
    assert 'not a result to expect' not in remark(evaluation())
    assert 'given beforehand' in remark(evaluation())


def test_settings_name_what_comparisons_need():
    rows = {
        row.name: row.value for row in settings(evaluation(setup=Setup('ring', 'looks', (4, 8))))
    }
    assert rows['Right answer'] == 'ring: at most 2 m away, at least 5 s earlier'
    against = evaluate_descriptors(ring(), ring(), RULE, options=Options(replicates=0))
    rules = {row.name: row.value for row in settings(against)}
    assert rules['Right answer'] == 'ring: at most 2 m away'  # no gap between two drives
    assert rows['Image size seen by the model'] == '4 x 8 (height x width)'
    assert rows['Queries'] == '48, 24 with a right answer'
    assert 'seed 0' in rows['Intervals']
    assert 'of queries with a right answer' in rows['Recall@K']


def test_verdicts_and_times_of_the_front_door_are_shown(tmp_path):
    drive = ring()
    answers = [
        Recognition(
            query, query * S, Verdict.ACCEPTED if query > 30 else Verdict.TEMPORAL_PENDING, '',
            (Candidate(Place(0, 1, (query - 24) * S), 0.8),) if query >= 24 else (),
            timings=Timings(1.0, 2.0, 3.0),
        )
        for query in range(48)
    ]  # fmt: skip
    found = score_recognitions(answers, drive.track, RULE, options=Options(replicates=5))
    html = write_report(found, tmp_path / 'out', pictures(48)).read_text()
    assert 'temporal pending' in html
    assert 'Time per query, 95 %' in [fact.name for fact in facts(found)]
    assert not (tmp_path / 'out' / 'matrix.png').exists()  # no table of similarities


def test_strips_show_right_wrong_unsure_and_missed_with_their_colours():
    found = evaluation()
    groups = {group.name: group for group in choose(found, 4)}
    assert list(groups) == ['right', 'wrong', 'unsure', 'missed']
    images = thumbnails(pictures(48), range(48))
    for name, group in groups.items():
        for strip in group.strips:
            correct = found.answers.correct[strip.query]
            assert correct == (name in ('right', 'unsure'))
            assert (strip.right is None) or found.evidence.truth.positive[strip.query, strip.right]
            drawn = draw_strip(found, strip, images, images)
            red, green, _ = drawn[2, WIDTH + 40].astype(int)
            assert (green > red) == correct


def test_strips_of_one_kind_are_not_neighbours():
    rows = spaced(np.ones(30, bool), -np.arange(30), 3)
    assert rows == [29, 24, 19]
    assert spaced(np.zeros(5, bool), np.arange(5), 3) == []


@pytest.mark.parametrize('shape', [(1, 1), (4, 1200), (1200, 4), (370, 1226), (2000, 1500)])
def test_images_of_every_shape_fit_a_strip(shape):
    found = evaluation()
    strip = choose(found, 1)[0].strips[0]
    images = thumbnails([np.zeros((*shape, 3), np.uint8)] * 48, range(48))
    drawn = draw_strip(found, strip, images, images)
    assert drawn.dtype == np.uint8
    assert drawn.shape[1] > 2 * WIDTH


def test_figures_wear_the_colours_of_their_page():
    found = evaluation()
    for theme, brightness in ((LIGHT, 1.0), (DARK, 0.09)):
        figure = draw('precision_recall', found, theme)
        assert figure.get_facecolor()[0] == pytest.approx(brightness, abs=0.02)
