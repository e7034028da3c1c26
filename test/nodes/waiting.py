"""Waiting for what another thread or process does, with an end."""

import threading
import time

WAIT_S = 30.0  # for anything that comes over DDS on a busy machine


def eventually(condition):
    """Wait until a condition holds, and give its value."""
    deadline = time.monotonic() + WAIT_S
    while not (value := condition()):
        assert time.monotonic() < deadline, 'it did not happen in time'
        threading.Event().wait(0.005)
    return value
