"""The newest item wins, what it replaced is counted, and nothing ends the thread."""

import threading

from vpr_ros.nodes.inputs.newest import NewestWorker

WAIT_S = 10.0


class Slow:
    """A handler that holds the thread until it is let go."""

    def __init__(self):
        self.arrivals = []
        self.busy = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.failures = []
        self.idle = threading.Event()

    def handle(self, arrival):
        self.arrivals.append(arrival)
        self.busy.release()
        assert self.go_on.acquire(timeout=WAIT_S)
        if arrival.item == 'bad':
            raise ValueError('bad item')

    def worker(self, idle_s=WAIT_S):
        return NewestWorker(self.handle, self.idle.set, self.failures.append, idle_s)


def test_newest_wins_and_drops_are_counted():
    slow = Slow()
    with slow.worker() as worker:
        worker.put(0)
        assert slow.busy.acquire(timeout=WAIT_S)
        for item in range(1, 5):
            worker.put(item)
        slow.go_on.release()
        assert slow.busy.acquire(timeout=WAIT_S)
        slow.go_on.release()
    assert [(a.item, a.dropped) for a in slow.arrivals] == [(0, 0), (4, 3)]
    assert slow.arrivals[1].waited_ms > 0


def test_leaving_finishes_the_item_in_work_and_drops_the_waiting_one():
    slow = Slow()
    worker = slow.worker().__enter__()
    worker.put('in work')
    assert slow.busy.acquire(timeout=WAIT_S)
    worker.put('waiting')
    threading.Timer(0.2, slow.go_on.release).start()  # while the worker is being left
    worker.__exit__(None, None, None)
    assert [a.item for a in slow.arrivals] == ['in work']


def test_a_failure_is_told_and_the_next_item_is_handled():
    slow = Slow()
    slow.go_on.release(2)
    with slow.worker() as worker:
        for item in ('bad', 'good'):
            worker.put(item)
            assert slow.busy.acquire(timeout=WAIT_S)
    assert [a.item for a in slow.arrivals] == ['bad', 'good']
    assert [str(error) for error in slow.failures] == ['bad item']


def test_idle_is_called_without_items():
    slow = Slow()
    with slow.worker(idle_s=0.01):
        assert slow.idle.wait(WAIT_S)
