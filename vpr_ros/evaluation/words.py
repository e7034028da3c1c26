"""An evaluation in words: one headline, a few facts, and the settings behind them."""

from __future__ import annotations

from dataclasses import dataclass

from vpr_ros.evaluation.bootstrap import LEVEL
from vpr_ros.evaluation.events import Spread
from vpr_ros.evaluation.protocols import Truth
from vpr_ros.evaluation.relative_poses import PoseErrors
from vpr_ros.evaluation.result import Evaluation

HINDSIGHT = (
    'The threshold was picked with the truth at hand: this is the best these similarities could '
    'do here, not a result to expect on a new drive.'
)
OTHER_RULE = 'The option --rule has others, for small rooms and short drives.'


KINDS = {
    'METRIC': 'Poses in metres',
    'UP_TO_SCALE': 'Poses up to scale',
    'ROTATION_ONLY': 'Rotations alone',
}


@dataclass(frozen=True)
class Fact:
    """One figure with its name and what is to be known about it."""

    name: str
    value: str
    note: str = ''


def headline(evaluation: Evaluation) -> str:
    """What happened, in one sentence."""
    closures = evaluation.closures
    false = counted(closures.wrong, 'false closure')
    if not closures.matchable:
        return f'No place was seen twice: {false} in {counted(evaluation.queries, "image")}'
    if not evaluation.is_drive:
        table = evaluation.recall
        return f'{table.found[0]} of {table.matchable} queries find their place first'
    how = ', with the best threshold in hindsight' if evaluation.acceptance.hindsight else ''
    return f'{closures.correct} of {closures.matchable} revisits recognised, {false}{how}'


def remark(evaluation: Evaluation) -> str:
    """How the headline came about."""
    acceptance, table = evaluation.acceptance, evaluation.recall
    if not evaluation.is_drive:
        ranks = zip(table.found[1:], table.ks[1:], strict=True)
        return '; '.join(f'{found} among the first {k}' for found, k in ranks)
    if acceptance.threshold is not None:
        how = f'Accepted at similarity {acceptance.threshold:.3f} and above ({acceptance.how}).'
    elif acceptance.hindsight:
        return 'Nothing was accepted: no threshold gives a single match without a false one.'
    else:
        how = f'Accepted: {acceptance.how}.'
    if not evaluation.closures.matchable:
        rule = rule_in_words(evaluation.evidence.truth)
        return f'{how} By the rule {rule}. {OTHER_RULE}'
    return f'{how} {HINDSIGHT}' if acceptance.hindsight else how


def facts(evaluation: Evaluation) -> list[Fact]:
    """The figures of the page; those that are not defined for these data are left out."""
    found = [*found_facts(evaluation), *closure_facts(evaluation), *pose_facts(evaluation)]
    total = (evaluation.timings or {}).get('total')
    if total is not None:
        note = f'median {total.p50_ms:.1f} ms, worst {total.max_ms:.1f} ms'
        found.append(Fact('Time per query, 95 %', f'{total.p95_ms:.1f} ms', note))
    return found


def found_facts(evaluation: Evaluation) -> list[Fact]:
    """What the similarities alone can do."""
    table, best = evaluation.recall, evaluation.single_best
    if not best.positives:
        return []
    first = f'{table.found[0]} of {table.matchable} queries with a right answer'
    full = 'nothing below the first wrong match'
    if best.threshold_at_100_precision is not None:
        full = f'at similarity {best.threshold_at_100_precision:.3f} and above'
    return [
        Fact(
            'Recall@1', percent(table.of_matchable[0]), first + within(evaluation, 'recall_at_1')
        ),
        Fact(
            'Average precision',
            percent(best.average_precision),
            'best match of each query' + within(evaluation, 'average_precision'),
        ),
        Fact(
            'Recall at 100 % precision',
            percent(best.recall_at_100_precision),
            full + within(evaluation, 'recall_at_100_precision'),
        ),
    ]


def closure_facts(evaluation: Evaluation) -> list[Fact]:
    """What accepting did along the drive."""
    closures = evaluation.closures
    found = []
    if closures.revisits:
        value = f'{closures.revisits_found} of {closures.revisits}'
        found.append(Fact('Loop events found', value, 'stretches of consecutive revisits'))
    if closures.wrong_per_km is not None and closures.travelled_km is not None:
        value = f'{closures.wrong_per_km:.1f} per km'
        note = f'{closures.wrong} over {1000 * closures.travelled_km:.0f} m'
        found.append(Fact('False closures', value, note))
    found += spread_fact('Delay to first closure', closures.latency_s, 's', 'of a revisit')
    found += spread_fact('Error of accepted', closures.error_m, 'm', 'query to matched place')
    return found


def pose_facts(evaluation: Evaluation) -> list[Fact]:
    """What geometry measured between query and place."""
    return [
        Fact(KINDS.get(kind, kind), f'{errors.count} of {errors.of}', pose_note(errors))
        for kind, errors in evaluation.poses.items()
    ]


def pose_note(errors: PoseErrors) -> str:
    """Errors in the median, and what 90 % of them are below."""
    parts = [
        f'{name} {values[0]:.2g} / {values[1]:.2g} {unit}'
        for name, values, unit in (
            ('translation', errors.translation_m, 'm'),
            ('direction', errors.direction_deg, 'deg'),
            ('rotation', errors.rotation_deg, 'deg'),
        )
        if values is not None
    ]
    stated = errors.as_stated
    honest = '' if stated is None else f'; {percent(stated)} within the 95 % of their covariance'
    return f'right best places; error of {", ".join(parts)} (50 / 90 %){honest}'


def spread_fact(name: str, values: Spread | None, unit: str, note: str) -> list[Fact]:
    if values is None:
        return []
    return [
        Fact(name, f'{values.mean:.1f} {unit}', f'mean; largest {values.max:.1f} {unit}; {note}')
    ]


def within(evaluation: Evaluation, name: str) -> str:
    """The confidence interval of a figure, as the end of a sentence."""
    interval = evaluation.bootstrap and evaluation.bootstrap.intervals.get(name)
    if not interval:
        return ''
    return (
        f'; {100 * LEVEL:.0f} % interval {100 * interval.low:.1f} to {100 * interval.high:.1f} %'
    )


def settings(evaluation: Evaluation) -> list[Fact]:
    """Everything a reader must know to compare the figures with others."""
    setup, size = evaluation.setup, evaluation.setup.image_size
    resampling = evaluation.bootstrap
    rows = [
        Fact('Data', setup.dataset),
        Fact('Model', setup.model),
        Fact('Descriptor', f'{evaluation.descriptor_length or "not known"}, cosine similarity'),
        Fact(
            'Image size seen by the model',
            f'{size[0]} x {size[1]} (height x width)' if size else '',
        ),
        Fact('Preprocessing', setup.preprocessing),
        Fact('Projection', setup.projection),
        Fact('Batch rule', setup.batch_rule),
        Fact(
            'Queries', f'{evaluation.queries}, {evaluation.recall.matchable} with a right answer'
        ),
        Fact('References', references(evaluation)),
        Fact('Right answer', rule_in_words(evaluation.evidence.truth)),
        Fact('Accepted', evaluation.acceptance.how),
        Fact('Recall@K', recall_in_words(evaluation)),
        Fact('Precision and recall', 'all distinct scores; equal scores enter together'),
    ]
    if resampling is not None:
        how = f'{resampling.replicates} resamplings of blocks of {resampling.block} queries'
        rows.append(Fact('Intervals', f'{how}, seed {resampling.seed}'))
    rows += [Fact(name, value) for name, value in setup.notes.items()]
    return [row for row in rows if row.value]


def references(evaluation: Evaluation) -> str:
    if evaluation.evidence.truth.within_drive:
        return 'the past of the same drive'
    return str(evaluation.references)


def recall_in_words(evaluation: Evaluation) -> str:
    """Both denominators, side by side."""
    table = evaluation.recall
    if not table.matchable:
        return 'not defined: no query has a right answer'
    shares = zip(table.ks, table.of_matchable, table.of_all, strict=True)
    return '; '.join(
        f'@{k}: {percent(some)} of queries with a right answer, {percent(every)} of all'
        for k, some, every in shares
    )


def rule_in_words(truth: Truth) -> str:
    """A truth rule as one line, with its gaps where they are used."""
    rule = truth.rule
    if rule is None:
        return 'labelled by hand'
    parts = [f'at most {rule.positive_m:g} m away']
    if rule.heading_deg is not None:
        parts.append(f'looking at most {rule.heading_deg:g}° elsewhere')
    if rule.outer_m > rule.positive_m:
        parts.append(f'not judged up to {rule.outer_m:g} m')
    gaps = ((rule.gap_s, ' s'), (rule.gap_m, ' m of path'), (rule.gap_frames, ' frames'))
    parts += [
        f'at least {gap:g}{unit} earlier' for gap, unit in gaps if gap and truth.within_drive
    ]
    return f'{rule.name}: ' + ', '.join(parts)


def counted(number: int, noun: str) -> str:
    """A number with its noun: 0 closures, 1 closure, 2 closures."""
    return f'{number} {noun}' if number == 1 else f'{number} {noun}s'


def percent(share: float | None) -> str:
    return '–' if share is None else f'{100 * share:.1f} %'
