"""How a model of `benchmarks/sampler.py` fares on places that it was not trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sampler_case import Setting, describe, stored, views_of

from vpr_ros.evaluation.datasets import LoopSet, PairSet, read_dataset
from vpr_ros.evaluation.evaluate import DescribedSet, Options, evaluate_descriptors
from vpr_ros.evaluation.precision_recall import ranking_auc
from vpr_ros.evaluation.protocols import Track, TruthRule
from vpr_ros.models import PlaceModel
from vpr_ros.training.feed import StoredFeed
from vpr_ros.training.views import ViewSet

REAL_SETS = ('euroc', 'duckietown', 'corridor', 'tower-floors', 'tower-seconds', 'landmark-pairs')
SHARED = Path(__file__).resolve().parents[2] / 'shared' / 'data'
RULE = TruthRule('town', positive_m=25.0, heading_deg=45.0)


def track_of(views: ViewSet, rows: np.ndarray) -> Track:
    flat = np.column_stack([views.position_m[rows], np.zeros(len(rows))])
    half = views.heading_rad[rows] / 2
    zero = np.zeros((len(rows), 2))
    return Track(positions_m=flat, quaternions=np.column_stack([zero, np.sin(half), np.cos(half)]))


def on_town(model: PlaceModel, views: ViewSet, feed: StoredFeed) -> dict[str, float]:
    """Each session of the test town against the last one, which is the reference; and the mean."""
    x = describe(model, feed)
    reference = np.flatnonzero(views.sessions == views.sessions.max())
    rows: dict[str, float] = {}
    found = []
    for session in np.unique(views.sessions)[:-1]:
        queries = np.flatnonzero(views.sessions == session)
        sides = [DescribedSet(x[r], track_of(views, r)) for r in (queries, reference)]
        result = evaluate_descriptors(*sides, RULE, options=Options(replicates=0))
        best = result.single_best
        name = Path(views.pictures.name(int(queries[0]))).parent.name
        rows[f'R@1 {name}'] = result.recall.of_matchable[0]
        found.append([
            result.recall.of_matchable[0], best.average_precision, best.recall_at_100_precision,
        ])  # fmt: skip
    means = np.mean(np.array(found, float), axis=0)
    return dict(zip(('R@1', 'AP', 'R@100P'), means.tolist(), strict=True)) | rows


def on_real(model: PlaceModel, name: str, setting: Setting) -> dict[str, float]:
    data = read_dataset(name, SHARED)
    parts = (
        [data.images] if isinstance(data, (LoopSet, PairSet)) else [data.queries, data.references]
    )
    x = [
        describe(model, stored(f'{name}-{n}', views_of([*part]), setting, 0))
        for n, part in enumerate(parts)
    ]
    if isinstance(data, PairSet):
        return {'AUC': ranking_auc(data.similarities(x[0]), data.same)}
    if isinstance(data, LoopSet):
        sides, rule = (DescribedSet(x[0], data.track), None), data.rule
    else:
        sides = (DescribedSet(x[0], data.query_track), DescribedSet(x[1], data.reference_track))
        rule = data.truth
    result = evaluate_descriptors(*sides, rule, options=Options(replicates=0))
    return {
        'R@1': result.recall.of_matchable[0],
        'AP': result.single_best.average_precision or 0.0,
    }
