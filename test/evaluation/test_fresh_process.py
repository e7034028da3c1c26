"""A call in a process of its own: its answer, its progress, and how it can end."""

import os
import signal

import pytest

from vpr_ros.errors import ConfigError, WorkerError
from vpr_ros.evaluation.fresh_process import call_in_fresh_process


def count(job, tell):
    for done in range(job):
        tell(done)
    return os.getpid()


def refuse(job, tell):
    raise ConfigError(f'{job}: no')


def die(job, tell):
    os._exit(3)


def test_the_answer_is_that_of_another_process():
    told = []
    assert call_in_fresh_process(count, 3, told.append) != os.getpid()
    assert told == [0, 1, 2]


def test_an_error_is_passed_on():
    with pytest.raises(ConfigError, match='seven: no'):
        call_in_fresh_process(refuse, 'seven')


def held(job, tell):
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_the_process_never_sees_ctrl_c_and_this_one_still_does():
    assert call_in_fresh_process(held, None)
    assert not held(None, None)


def test_a_death_is_one_sentence():
    with pytest.raises(WorkerError, match='ended before its work was done'):
        call_in_fresh_process(die, None)
