"""Tables are whole on every terminal, and in every log."""

from types import SimpleNamespace

import pytest
from rich.console import Console
from rich.table import Table

from vpr_ros.cli import benchmark
from vpr_ros.cli.console import console, print_table
from vpr_ros.evaluation.stage_report import COLUMNS, stage_table

UUID = '3e122ca5-fa2d-45af-a84f-22b87b9f3f59'


@pytest.mark.parametrize('width', [20, 40, 80])
def test_what_does_not_fit_is_continued_below(width, monkeypatch, capsys):
    monkeypatch.setattr(console, 'width', width)
    table = Table(show_header=False)
    table.add_row('uuid', UUID)
    print_table(table)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert ''.join(line.split('│')[2].strip() for line in lines[1:-1]) == UUID


@pytest.mark.parametrize('width', [30, 80])
def test_figures_are_never_cut(width, monkeypatch, capsys):
    monkeypatch.setattr(console, 'width', width)
    row = ['sage_nano', '1x240x240', 'openvino bf16']
    speed = ['16.1', '16.3', '16.4', '62.5', '3.21 x', '0.99971']
    work = ['1.93', '0.122', '45 %', '265, 269', '4, 22, 74, 0']
    benchmark.print_rows([*benchmark.SUBJECT, *benchmark.SPEED], [row + speed])
    benchmark.print_rows([*benchmark.SUBJECT, *benchmark.WORK], [row + work])
    told = capsys.readouterr().out
    cells = {cell.strip() for line in told.splitlines() for cell in line.split('│')}
    assert cells >= {'sage_nano', '1x240x240', 'openvino', 'bf16', *speed, *work}
    assert width < 80 or max(map(len, told.splitlines())) <= 80


@pytest.mark.parametrize('width', [30, 80])
def test_the_comparison_of_stages_is_whole(width, monkeypatch, capsys):
    monkeypatch.setattr(console, 'width', width)
    row = {key: 12.5 if form[-1] == 'f' else 125 for key, form in COLUMNS.values()}
    result = SimpleNamespace(figures=lambda: {**row, 'of': 9, 'stages': 'similarity alone'})
    print_table(stage_table('drive', [result]))
    told = capsys.readouterr().out
    cells = {cell.strip() for line in told.splitlines() for cell in line.split('│')}
    assert cells >= {'similarity alone', '12.50', '12.5', '125'}
    assert '12.5│\n' in told  # the last column


def test_a_table_for_people_leaves_what_is_for_programs_alone(capsys):
    table = Table('figure')
    table.add_row('1')
    print_table(table, Console(stderr=True))
    told = capsys.readouterr()
    assert not told.out and 'figure' in told.err
