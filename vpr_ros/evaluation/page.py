"""One HTML page that shows an evaluation; no script, no network, images beside it."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from vpr_ros.evaluation.result import Evaluation, Timing
from vpr_ros.evaluation.words import Fact, facts, headline, remark, settings

STYLE = """
:root { color-scheme: light dark; --ground: #f3f5f7; --card: #fff; --ink: #1c2330;
  --faint: #5b6470; --line: #dfe3e8; --right: #12833f; --wrong: #c42c1e; }
@media (prefers-color-scheme: dark) { :root { --ground: #0f1216; --card: #181c22;
  --ink: #e8ebf0; --faint: #98a1ae; --line: #323943; --right: #4cc476; --wrong: #ff6f5e; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 40px 24px 64px; }
header p { max-width: 74ch; color: var(--faint); margin: 8px 0 0; }
.kicker { color: var(--faint); margin: 0 0 8px; font-size: 15px; }
h1 { font-size: clamp(28px, 4.4vw, 46px); line-height: 1.15; margin: 0; font-weight: 650;
  letter-spacing: -0.015em; }
h1.good { color: var(--right); } h1.bad { color: var(--wrong); }
a { color: inherit; }
h2 { font-size: 20px; font-weight: 600; margin: 44px 0 14px; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(250px, 1fr)); gap: 12px;
  margin: 28px 0 0; }
.fact, figure, .table { background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; }
.fact { padding: 14px 16px; }
.fact dt { color: var(--faint); font-size: 14px; }
.fact dd { margin: 2px 0 0; font-size: 26px; font-weight: 600;
  font-variant-numeric: tabular-nums; }
.fact small { display: block; color: var(--faint); font-size: 13px; font-weight: 400;
  line-height: 1.4; margin-top: 2px; }
.plots { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 14px;
  grid-auto-flow: dense; }
.plots .wide { grid-column: 1 / -1; }
figure { margin: 0; padding: 14px; }
figcaption { font-weight: 600; margin: 0 0 8px; font-size: 15px; }
img { width: 100%; height: auto; display: block; border-radius: 4px; }
.strips { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 540px), 1fr));
  gap: 14px; }
.strips img { border-radius: 8px; width: auto; max-width: 100%; }
.table { padding: 6px 16px; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 15px;
  font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: 8px 14px 8px 0;
  border-top: 1px solid var(--line); }
tr:first-child > * { border-top: 0; }
th { font-weight: 500; color: var(--faint); white-space: nowrap; }
td.number { text-align: right; } th.number { text-align: right; }
footer { color: var(--faint); font-size: 14px; margin-top: 32px; }
@media (max-width: 800px) { .plots { grid-template-columns: 1fr; } main { padding: 24px 14px; }
  th { white-space: normal; } }
"""


@dataclass(frozen=True)
class Picture:
    """An image file beside the page; `dark` is its twin for dark pages."""

    file: str
    title: str
    dark: str | None = None
    wide: bool = False


def page(
    evaluation: Evaluation, plots: list[Picture], strips: list[tuple[str, list[Picture]]]
) -> str:
    """The whole page as text."""
    title = headline(evaluation)
    name = ' · '.join(filter(None, (evaluation.setup.dataset, evaluation.setup.model)))
    shown = [
        f'<h2>{escape(group)}</h2>\n<div class="strips">{"".join(map(image, pictures))}</div>'
        for group, pictures in strips
    ]
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(f'{name}: {title}' if name else title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<header>
<p class="kicker">{escape(name)}</p>
<h1 class="{mood(evaluation)}">{escape(title)}</h1>
<p>{escape(remark(evaluation))}</p>
</header>
<dl class="facts">{''.join(map(fact, facts(evaluation)))}</dl>
<h2>Figures</h2>
<div class="plots">{''.join(map(figure, plots))}</div>
{''.join(shown)}
{timings(evaluation.timings)}
{verdicts(evaluation.verdicts)}
<h2>Settings</h2>
<div class="table"><table>{''.join(map(setting, settings(evaluation)))}</table></div>
<footer>All figures, curves and one row for each query:
<a href="evaluation.json">evaluation.json</a></footer>
</main>
</body>
</html>
"""


def mood(evaluation: Evaluation) -> str:
    """False closures are bad news, half of the revisits without any is good; else neither."""
    closures = evaluation.closures
    if evaluation.acceptance.hindsight or (not evaluation.is_drive and closures.matchable):
        return ''
    if closures.wrong:
        return 'bad'
    return 'good' if 2 * closures.correct >= closures.matchable else ''


def fact(item: Fact) -> str:
    note = f'<small>{escape(item.note)}</small>' if item.note else ''
    return (
        f'<div class="fact"><dt>{escape(item.name)}</dt><dd>{escape(item.value)}{note}</dd></div>'
    )


def image(picture: Picture) -> str:
    """An image with its twin for dark pages."""
    shown = f'<img src="{escape(picture.file)}" alt="{escape(picture.title)}" loading="lazy">'
    if picture.dark is None:
        return shown
    twin = f'<source srcset="{escape(picture.dark)}" media="(prefers-color-scheme: dark)">'
    return f'<picture>{twin}{shown}</picture>'


def figure(picture: Picture) -> str:
    wide = ' class="wide"' if picture.wide else ''
    title = escape(picture.title)
    return f'<figure{wide}><figcaption>{title}</figcaption>{image(picture)}</figure>'


def setting(item: Fact) -> str:
    return f'<tr><th scope="row">{escape(item.name)}</th><td>{escape(item.value)}</td></tr>'


def timings(stages: dict[str, Timing] | None) -> str:
    """Table of milliseconds, one row for each stage."""
    if stages is None:
        return ''
    names = ('mean', 'median', '95 %', '99 %', 'worst')
    head = ''.join(f'<th class="number">{name}</th>' for name in names)
    rows = ''.join(
        f'<tr><th scope="row">{escape(stage)}</th>'
        + ''.join(
            f'<td class="number">{value:.1f}</td>'
            for value in (t.mean_ms, t.p50_ms, t.p95_ms, t.p99_ms, t.max_ms)
        )
        + '</tr>'
        for stage, t in stages.items()
    )
    return (
        '<h2>Time per query, milliseconds</h2>'
        f'<div class="table"><table><tr><th>stage</th>{head}</tr>{rows}</table></div>'
    )


def verdicts(counts: dict[str, int] | None) -> str:
    """Table of what the recogniser answered, and how often."""
    if counts is None:
        return ''
    rows = ''.join(
        f'<tr><th scope="row">{escape(name.lower().replace("_", " "))}</th>'
        f'<td class="number">{count}</td></tr>'
        for name, count in counts.items()
    )
    return f'<h2>Verdicts</h2><div class="table"><table>{rows}</table></div>'
