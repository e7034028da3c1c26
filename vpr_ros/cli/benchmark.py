"""`vpr benchmark`: how fast models describe images on this machine."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from vpr_ros.cli.console import console, print_table, progress
from vpr_ros.errors import WorkerError

if TYPE_CHECKING:
    from rich.console import JustifyMethod

    from vpr_ros.evaluation.speed_record import Case, Row, Speed

ENGINE = 'on'
SUBJECT = ('model', 'input', ENGINE)
SPEED = ('p50\nms', 'p95\nms', 'p99\nms', 'img/s', 'vs\neager', 'cosine')
AUTHORS = ('vs\nauthors', 'cosine')
WORK = ('GFLOP', 'TFLOP\n/s', 'of\npeak', 'MiB\nload, run', 'decode,\nprepare,\nbackbone,\nhead')
SPEED_NOTE = (
    'Milliseconds are from a batch of pictures in memory to its descriptors in memory. Vs eager: '
    'how many times as fast the network is as the same one in plain torch, fp32, and the least '
    'cosine of a descriptor to it. All calls take turns.'
)
AUTHORS_NOTE = " Vs authors: the same of the authors' own network in fp32, with our weights."
WORK_NOTE = (
    'GFLOP are of the backbone for one image, TFLOP/s what it reaches; the peak is {}. MiB: the '
    'most that the process, or torch on a GPU, takes above its start, while loading and after. '
    'The last column is percent of the time from a JPEG to its descriptor.'
)
PEAKS = {
    'given': 'as given',
    'measured': 'what a large product of matrices reaches in turn with it',
}
RANDOM_NOTE = '* random weights, which take the same time; their cosine is only a sign'


def add_commands(commands: argparse._SubParsersAction) -> None:
    benchmark = commands.add_parser('benchmark', help='time the models on this machine')
    add_options(benchmark)
    benchmark.set_defaults(run=run)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of a speed measurement."""
    parser.add_argument(
        'models', nargs='*', metavar='MODEL',
        help='see `vpr models`; without any: those that a robot may run on this device',
    )  # fmt: skip
    parser.add_argument('--size', type=_size, metavar='HxW', help='input, in place of its own')
    parser.add_argument(
        '--batch', type=int, nargs='+', default=[1], metavar='N', help='images a call (default 1)'
    )
    parser.add_argument(
        '--precision', nargs='+', default=['auto'], metavar='P',
        help='auto, fp32, bf16, fp16 or int8 (default auto)',
    )  # fmt: skip
    parser.add_argument('--device', default='auto', help='auto, cpu or cuda (default auto)')
    parser.add_argument(
        '--repeat',
        type=int,
        default=20,
        metavar='N',
        help='calls of each kind (default %(default)s)',
    )
    parser.add_argument(
        '--camera',
        type=_size,
        default=(480, 640),
        metavar='HxW',
        help='size of the pictures (default 480x640)',
    )
    parser.add_argument(
        '--peak-tflops', type=float, metavar='X',
        help='of the device in that precision; without it: that of a large product, measured',
    )  # fmt: skip
    parser.add_argument('--json', type=Path, metavar='FILE', help='also write every figure here')
    parser.add_argument('--plot', type=Path, metavar='FILE.png', help='also draw the bars here')


def run(arguments: argparse.Namespace) -> None:
    from vpr_ros.evaluation.speed import usual_models

    models = arguments.models or usual_models(arguments.device)
    measure_and_show(arguments, chosen_cases(arguments, models))


def chosen_cases(arguments: argparse.Namespace, models: Sequence[str]) -> list[Case]:
    """Every model at every batch size."""
    from vpr_ros.evaluation.speed_record import Case

    return [
        Case(
            model, arguments.size, batch, tuple(arguments.precision), arguments.device,
            arguments.camera, arguments.repeat, arguments.peak_tflops,
        )
        for model, batch in product(models, arguments.batch)
    ]  # fmt: skip


def measure_and_show(arguments: argparse.Namespace, cases: Sequence[Case]) -> None:
    """Measure, print the tables, and write what was asked for.

    Raises:
        ConfigError: a case that cannot be measured here, or a file that cannot be written.
        WorkerError: some cases failed; the others are shown and written.
    """
    from vpr_ros.evaluation.speed import check_output, measure_all, write_whole
    from vpr_ros.evaluation.speed_plot import SUFFIXES, draw_speed

    if arguments.json:
        check_output(arguments.json)
    if arguments.plot:
        check_output(arguments.plot, SUFFIXES)
    with progress('measuring') as report:
        speed = measure_all(cases, report)
    if speed.rows:
        show(speed)
    if arguments.json:
        write_whole(arguments.json, speed.to_json().encode('utf-8'))
    if arguments.plot and speed.rows:
        write_whole(arguments.plot, draw_speed(speed, arguments.plot.suffix))
    if speed.failures:
        raise WorkerError('could not be measured: ' + '; '.join(speed.failures))


def show(speed: Speed) -> None:
    """Print what was measured on, the tables, and what their columns mean."""
    about, (height, width) = speed.machine, speed.camera
    console.print(
        f'{about["processor"]}, {about["cores"]} cores, {about["threads"]} threads, load '
        f'{about["load"]} before; torch {about["torch"]}; {about["system"]}', markup=False,
    )  # fmt: skip
    for state in {tuple(row.gpu.items()): row.gpu for row in speed.rows if row.gpu}.values():
        console.print(', '.join(f'{key} {value}' for key, value in state.items()), markup=False)
    console.print(
        f'pictures of {height}x{width}; {speed.warm_up} calls to warm up, then {speed.repeat}'
    )
    authors = any(row.figures.authors_ms is not None for row in speed.rows)
    print_rows(
        [*SUBJECT, *SPEED, *(AUTHORS if authors else ())],
        [subject(row) + speed_cells(row) + (author_cells(row) if authors else [])
         for row in speed.rows],
    )  # fmt: skip
    console.print(SPEED_NOTE + (AUTHORS_NOTE if authors else ''), style='dim')
    print_rows([*SUBJECT, *WORK], [subject(row) + work_cells(row) for row in speed.rows])
    peaks = {PEAKS[row.figures.peak_source] for row in speed.rows}
    console.print(WORK_NOTE.format(' or '.join(sorted(peaks))), style='dim')
    if any(row.is_random for row in speed.rows):
        console.print(RANDOM_NOTE, style='dim')


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table of one model a row; for models of short names it fits 80 characters."""
    table = Table(padding=(0, 0, 0, 1))
    for number, column in enumerate(columns):
        justify: JustifyMethod = 'right' if number >= len(SUBJECT) else 'left'
        table.add_column(column, justify=justify, no_wrap=column != ENGINE)
    for row in rows:
        table.add_row(*map(escape, row))
    print_table(table)


def subject(row: Row) -> list[str]:
    """Cells for SUBJECT."""
    mark = '*' if row.is_random else ''
    shape = 'x'.join(map(str, (row.batch, *row.size)))
    engine = row.engine if row.device == 'cpu' else row.device
    return [row.model + mark, shape, f'{engine} {row.precision}']


def speed_cells(row: Row) -> list[str]:
    """Cells for SPEED."""
    from vpr_ros.evaluation.speed_record import digits

    found = row.figures
    figures = (found.p50_ms, found.p95_ms, found.p99_ms, found.images_per_s)
    return [*map(digits, figures), f'{found.times_eager:.2f} x', f'{found.cosine_to_fp32:.5f}']


def author_cells(row: Row) -> list[str]:
    """Cells for AUTHORS; empty where they have no such model."""
    times, cosine = row.figures.times_authors, row.figures.cosine_to_authors
    return ['', ''] if times is None else [f'{times:.2f} x', f'{cosine:.5f}']


def work_cells(row: Row) -> list[str]:
    """Cells for WORK."""
    from vpr_ros.evaluation.speed_record import digits

    found = row.figures
    memory = ', '.join('?' if mib is None else f'{mib:.0f}' for mib in (row.load_mib, row.run_mib))
    shares = ', '.join(f'{100 * share:.0f}' for share in found.shares.values())
    work = (found.gflop_per_image, found.backbone_tflops)
    return [*map(digits, work), f'{100 * found.peak_share:.0f} %', memory, shares]


def _size(text: str) -> tuple[int, int]:
    height, cross, width = text.partition('x')
    if not (cross and height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f'expected HxW in pixels such as 322x322, found {text!r}')
    return int(height), int(width)
