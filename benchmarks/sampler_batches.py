"""What the batches of `benchmarks/sampler.py` are like to a model before it learns from them."""

from __future__ import annotations

import json

import numpy as np
from rich.console import Console
from rich.table import Table
from sampler_case import VERSIONS, Setting, describe, make_config, make_model, stored
from sampler_tests import REAL_SETS, on_real, on_town

from vpr_ros.training.sampling import Plan, build_sampler
from vpr_ros.training.sources import open_views
from vpr_ros.training.views import ViewSet, joined


def look_at_batches(setting: Setting, variants: list[str], console: Console) -> None:
    """What the batches of each variant are like to the model before it learns from them."""
    views = joined(open_views(setting.train))
    model, feed = make_model(setting, 0), stored('train', views, setting, VERSIONS)
    every = describe(model, feed)
    columns = ['views', 'hardest stranger', 'own, mean', 'own, least', 'deceived', 'sessions']
    table = Table('batches of', *columns, title='the model before learning, plain pictures')
    rows = {}
    for variant in [v for v in variants if not v.endswith('nosoft')]:
        config = make_config(setting, variant, 0)
        sampler = build_sampler(views, config.sampler, setting.places, config.views_per_place)
        plan = sampler.plan(setting.steps, lambda rows: every[rows], np.random.default_rng(0))
        rows[variant] = dict(zip(columns, batch_figures(plan, every, views), strict=True))
        table.add_row(variant, *(f'{value:.3f}' for value in rows[variant].values()))
    console.print(table)
    tests = joined(open_views((setting.test,)))
    town = on_town(model, tests, stored('test', tests, setting, 0))
    real = [next(iter(on_real(model, name, setting).values())) for name in REAL_SETS]
    console.print(
        f'before learning: town R@1 {town["R@1"]:.3f}, AP {town["AP"]:.3f}; '
        f'mean of the real sets {np.mean(real):.3f}'
    )
    (setting.out / 'batches.json').write_text(json.dumps(rows, indent=1))


def batch_figures(plan: Plan, every: np.ndarray, views: ViewSet) -> list[float]:
    """Different views; similarities, averaged over anchors; sessions among the views of a place.

    An anchor is deceived where the most similar stranger beats its least similar own view.
    """
    found = []
    for images, labels in zip(plan.images, plan.labels, strict=True):
        x = every[images]
        similarity, same = x @ x.T, labels[:, None] == labels
        stranger = np.where(same, -1.0, similarity).max(axis=1)
        np.fill_diagonal(same, False)
        own = (similarity * same).sum(axis=1) / same.sum(axis=1)
        least = np.where(same, similarity, 2.0).min(axis=1)
        sessions = [len(np.unique(views.sessions[images[labels == n]])) for n in np.unique(labels)]
        found.append([v.mean() for v in (stranger, own, least, stranger > least)]
                     + [np.mean(sessions)])  # fmt: skip
    return [float(len(np.unique(plan.images))), *np.mean(found, axis=0).tolist()]
