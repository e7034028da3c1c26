from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator

import pytest

from vpr_ros.errors import WorkerError
from vpr_ros.synthetic.workers import AHEAD, ordered_map


def square(number: int) -> int:
    if number == 2:
        time.sleep(0.05)  # a late answer keeps its place
    return number * number


def fail_at_three(number: int) -> int:
    if number == 3:
        raise FileNotFoundError('three')
    return number


def die(number: int) -> int:
    os._exit(3)


@pytest.mark.parametrize('workers', [1, 2, 3])
def test_answers_come_in_order(workers):
    assert list(ordered_map(square, range(9), workers)) == [n * n for n in range(9)]


def test_no_jobs_give_no_answers():
    assert list(ordered_map(square, [], 2)) == []


def test_memory_is_bounded_for_endless_work():
    asked = []

    def numbers() -> Iterator[int]:
        for number in itertools.count():
            asked.append(number)
            yield number

    answers = ordered_map(square, numbers(), 2)
    assert list(itertools.islice(answers, 5)) == [0, 1, 4, 9, 16]
    assert len(asked) <= 5 + 2 * AHEAD + 1
    answers.close()


@pytest.mark.parametrize('workers', [1, 2])
def test_an_error_of_the_work_is_passed_on(workers):
    with pytest.raises(FileNotFoundError, match='three'):
        list(ordered_map(fail_at_three, range(6), workers))


def test_a_dead_worker_is_named_in_one_sentence():
    with pytest.raises(WorkerError, match='ended before its work was done'):
        list(ordered_map(die, range(6), 2))
