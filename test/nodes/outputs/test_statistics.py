"""What is counted, and what is said of the last while."""

import threading

import pytest

from vpr_msgs.msg import LoopClosureAck
from vpr_ros.nodes.inputs.newest import Arrival
from vpr_ros.nodes.outputs import statistics as module
from vpr_ros.nodes.outputs.statistics import STAGES, Statistics
from vpr_ros.records import Candidate, Place, Recognition, Timings, Verdict

ACK = LoopClosureAck


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def statistics(clock):
    return Statistics(clock)


def answer(verdict=Verdict.LOW_SIMILARITY, stamp_ns=1, reason='', **ms):
    candidates = (Candidate(Place(1, 1, 0), 0.9),)
    timings = Timings(**{f'{stage}_ms': value for stage, value in ms.items()})
    return Recognition(0, stamp_ns, verdict, reason, candidates, timings=timings)


def arrival(waited_ms=0.0, dropped=0):
    return Arrival(b'', waited_ms, dropped)


def test_nothing_yet(statistics, clock):
    figures = statistics.figures()
    assert (
        figures.answered == figures.accepted == figures.dropped == statistics.last_accepted_ns == 0
    )
    assert figures.recent.stages == {} and figures.recent.dropped_share == 0.0
    assert not statistics.localized(clock(), 1e9)


def test_answers_are_counted_by_verdict(statistics):
    statistics.add(answer(Verdict.ACCEPTED), arrival())
    for _ in range(3):
        statistics.add(answer(), arrival(dropped=2))
    statistics.skip()
    figures = statistics.figures()
    assert figures.verdicts == {Verdict.ACCEPTED: 1, Verdict.LOW_SIMILARITY: 3}
    assert (figures.answered, figures.accepted, figures.dropped, figures.skipped) == (4, 1, 6, 1)
    assert figures.recent.dropped_share == 0.6


def test_images_skipped_show_that_there_was_time(statistics):
    for _ in range(2):
        statistics.skip(arrival(dropped=1))
    statistics.add(answer(), arrival(dropped=1))
    figures = statistics.figures()
    assert (figures.skipped, figures.dropped) == (2, 3)
    assert (figures.recent.skipped, figures.recent.dropped) == (2, 3)
    assert figures.recent.dropped_share == pytest.approx(1 / 6)
    for _ in range(4):
        statistics.skip()
    statistics.add(answer(), arrival())
    assert statistics.figures().recent.dropped_share == 0.0


def test_counting_anew(statistics, clock):
    statistics.add(answer(Verdict.ACCEPTED), arrival(dropped=1))
    statistics.close()
    statistics.acknowledge(ACK(closure_id=0, status=ACK.ACCEPTED))
    statistics.reset()
    assert statistics.figures() == Statistics(clock).figures()
    assert not statistics.localized(clock(), 1e9)
    statistics.close()  # closure 1: closures keep their numbers
    assert statistics.acknowledge(ACK(closure_id=0, status=ACK.REJECTED))  # of before: known
    assert statistics.figures().acks == {}
    assert statistics.acknowledge(ACK(closure_id=1, status=ACK.ACCEPTED))
    assert not statistics.acknowledge(ACK(closure_id=2, status=ACK.ACCEPTED))
    assert statistics.figures().closures == statistics.figures().accepted_acks == 1


def test_every_stage_and_their_sum(statistics):
    statistics.add(
        answer(preprocess=1, inference=2, search=3, rerank=4, verify=5, decide=6), arrival(7.0)
    )
    stages = statistics.figures().recent.stages
    assert tuple(stages) == STAGES
    assert [stages[x].p50_ms for x in STAGES] == [7, 1, 2, 3, 4, 5, 6, 28]


def test_spread_of_the_last_hundred(statistics, clock):
    statistics.add(answer(inference=1000.0), arrival())  # too long ago to be among them
    for number in range(100):
        clock.now_s += 0.1
        statistics.add(answer(inference=number + 1.0), arrival())
    recent = statistics.figures().recent
    assert recent.answers == 100 and recent.rate_hz == pytest.approx(10.0)
    spread = recent.stages['inference']
    assert spread.p50_ms == 50.5 and spread.p95_ms == pytest.approx(95.05)
    assert spread.max_ms == 100.0
    assert statistics.figures().answered == 101


def test_what_is_older_than_a_minute_is_not_recent(statistics, clock):
    statistics.add(answer(Verdict.ERROR, reason='no memory'), arrival(dropped=5))
    assert statistics.figures().recent.last_error == 'no memory'
    clock.now_s += 61.0
    recent = statistics.figures().recent
    assert recent.answers == recent.errors == recent.dropped == 0 and recent.last_error == ''
    assert statistics.figures().verdicts == {Verdict.ERROR: 1}


def test_images_that_show_nothing_are_counted_with_the_newest_reason(statistics):
    for reason in ('it is white', 'it is black'):
        statistics.add(answer(Verdict.BAD_IMAGE, reason=reason), arrival())
    statistics.add(answer(), arrival())
    recent = statistics.figures().recent
    assert (recent.answers, recent.unusable, recent.errors) == (3, 2, 0)
    assert recent.last_unusable == 'it is black'


def test_localized_for_a_while(statistics, clock):
    statistics.add(answer(Verdict.ACCEPTED, stamp_ns=5), arrival())
    clock.now_s += 3.0
    statistics.add(answer(stamp_ns=8), arrival())
    assert statistics.localized(clock(), 3.0) and not statistics.localized(clock(), 2.9)
    assert statistics.last_accepted_ns == statistics.figures().last_accepted_ns == 5


def test_the_newest_word_of_each_back_end_counts(statistics):
    for _ in range(2):
        statistics.close()
    for closure_id, backend, status in (
        (0, 'a', ACK.PENDING), (1, 'a', ACK.PENDING), (0, 'b', ACK.ACCEPTED),
        (0, 'a', ACK.ACCEPTED), (0, 'b', ACK.REJECTED),
    ):  # fmt: skip
        ack = ACK(closure_id=closure_id, backend=backend, status=status)
        assert statistics.acknowledge(ack)
    figures = statistics.figures()
    assert figures.closures == 2
    assert (figures.accepted_acks, figures.rejected_acks, figures.pending_acks) == (1, 1, 1)


def test_a_closure_that_was_never_published_is_not_counted(statistics):
    assert not statistics.acknowledge(ACK(closure_id=0, status=ACK.ACCEPTED))
    assert statistics.figures().accepted_acks == 0


def test_memory_of_acknowledgements_is_bounded(statistics, monkeypatch):
    monkeypatch.setattr(module, 'MOST_ACKS', 10)
    for number in range(50):
        statistics.close()
        statistics.acknowledge(ACK(closure_id=number, status=ACK.ACCEPTED))
    assert len(statistics._acks) == 10 and statistics.figures().accepted_acks == 50


def test_losses_are_recent_for_ten_seconds(statistics, clock):
    statistics.lose(0)
    for total in (2, 3, 3):
        clock.now_s += 1.0
        statistics.lose(total)
    assert statistics.figures().recent.lost == 3
    for _ in range(12):
        clock.now_s += 1.0
        statistics.lose(3)
    assert statistics.figures().recent.lost == 0 and len(statistics._losses) < 14
    statistics.lose(1)  # the inputs were opened anew, and count from zero
    assert statistics.figures().recent.lost == 1


def test_one_writes_while_another_reads():
    statistics = Statistics()
    done = threading.Event()

    def write():
        for _ in range(300):
            statistics.add(answer(Verdict.ACCEPTED), arrival(dropped=1))
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        figures = statistics.figures()
        assert figures.answered == figures.dropped  # never half of an answer
    writer.join()
    assert statistics.figures().answered == 300
