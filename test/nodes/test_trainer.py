"""A training as a ROS executable: parameters in, progress and diagnostics out, exit codes."""

import math
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager

import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from small_views import write_textures

from vpr_msgs.msg import TrainingProgress
from vpr_ros.errors import ConfigError
from vpr_ros.models.weights.checkpoint import read_header
from vpr_ros.nodes.session import spinning_node
from vpr_ros.nodes.training_node import KEPT, in_words, read_job

SETTINGS = {
    'model': 'sage_test', 'scratch': True, 'device': 'cpu', 'steps': 600, 'epoch_steps': 150,
    'places_per_batch': 4, 'views_per_place': 3, 'save_every': 5, 'validation.share': 0.2,
    'validation.patience': 0,
    'decoders': 1,
}  # fmt: skip


@pytest.fixture(scope='module')
def survey(tmp_path_factory):
    return write_textures(tmp_path_factory.mktemp('survey with a space'))


def without_shared_memory():
    """Processes come and go here: none may leave a locked segment to the next."""
    return {**os.environ, 'FASTDDS_BUILTIN_TRANSPORTS': 'UDPv4'}


@pytest.fixture
def start(tmp_path, survey):
    """Start trainers that do not outlive the test."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(trainer(tmp_path, survey, **settings))


@contextmanager
def trainer(folder, survey, **settings):
    given = {
        **SETTINGS, 'data': f"'{survey}'", 'output': str(folder / 'mine.safetensors'), **settings,
    }  # fmt: skip
    parameters = folder / 'parameters.yaml'
    parameters.write_text(yaml.safe_dump({'trainer': {'ros__parameters': given}}))
    process = subprocess.Popen(
        [sys.executable, '-m', 'vpr_ros.nodes.trainer', '--ros-args', '--params-file', parameters],
        stderr=subprocess.PIPE, text=True, env=without_shared_memory(),
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def heard():
    """Everything that is published while the test runs."""
    progress, statuses = [], []
    with spinning_node('listener', without_shared_memory()) as node:
        node.create_subscription(TrainingProgress, '/trainer/progress', progress.append, KEPT)
        node.create_subscription(
            DiagnosticArray, '/diagnostics', lambda array: statuses.extend(array.status), 10
        )
        yield progress, statuses


def until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'nothing came in time'
        time.sleep(0.02)


def test_it_trains_tells_of_it_and_ends(tmp_path, start, heard):
    progress, statuses = heard
    process = start()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    until(lambda: progress and progress[-1].finished)
    last = progress[-1]
    assert (last.model, last.step, last.steps, last.error) == ('sage_test', 600, 600, '')
    assert 0 <= last.recall_at_1 <= 1
    assert math.isfinite(last.loss)
    steps = [message.step for message in progress]
    assert steps == sorted(steps)
    assert statuses[-1].level == DiagnosticStatus.OK
    assert read_header(tmp_path / 'mine.safetensors').model == 'sage_test'


def test_sigint_saves_and_resume_goes_on(tmp_path, start, heard):
    progress, _ = heard
    process = start(steps=100_000)
    until(lambda: progress and progress[-1].step > 5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert 'start with resume:=true' in errors
    assert not (tmp_path / 'mine.safetensors').exists()
    stopped = progress[-1].step
    process = start(steps=100_000, resume=True)
    until(lambda: progress[-1].step > stopped)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    process.communicate()


@pytest.mark.parametrize(
    ('settings', 'code', 'words'),
    [
        ({'data': ''}, 2, 'parameter data is empty'),
        ({'output': 'here'}, 2, "expected a .safetensors file, found 'here'"),
        ({'learning_rate': 7.0}, 2, 'learning_rate: expected at most 1'),
        ({'data': 'nowhere'}, 1, 'nowhere'),
    ],
)
def test_what_cannot_work_is_said_in_one_sentence(start, settings, code, words):
    process = start(**settings)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert words in errors
    assert 'Traceback' not in errors


def test_words_for_people():
    message = TrainingProgress(
        phase='training', step=5, steps=50, loss=0.5, recall_at_1=math.nan, seconds_left=125.0
    )
    assert in_words(message) == 'step 5 of 50, loss 0.500, 2 min left'
    message.recall_at_1, message.unreadable = 0.75, 2
    assert 'recall@1 0.75 on held-out places' in in_words(message)
    assert in_words(message).endswith('2 images could not be read')


def test_an_order_needs_data_and_output():
    from vpr_ros.config import TrainerConfig

    with pytest.raises(ConfigError, match='data is empty'):
        read_job(TrainerConfig(output='a.safetensors'))
    job = read_job(TrainerConfig(data="'a b' c", output='a.safetensors', steps=7))
    assert job.data == ('a b', 'c')
    assert job.config.steps == 7
    assert not job.head_only
    assert read_job(TrainerConfig(data='a', output='a.safetensors', head_only=True)).head_only
