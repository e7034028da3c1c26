"""What the live node tells about itself once a second, in words."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from vpr_ros.nodes.inputs.newest import Arrival
from vpr_ros.records import Recognition, Timings, Verdict


@dataclass
class Statistics:
    """Counts since the node was configured, and sums of times in milliseconds."""

    received: int = 0
    dropped: int = 0  # replaced by a newer image before they were looked at
    lost: int = 0  # lost between publisher and node, as far as DDS tells
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    waited_ms: float = 0.0
    preprocess_ms: float = 0.0
    inference_ms: float = 0.0
    search_ms: float = 0.0

    @property
    def processed(self) -> int:
        return self.verdicts.total()

    def add(self, recognition: Recognition, arrival: Arrival) -> None:
        """Count one answer."""
        timings: Timings = recognition.timings
        self.verdicts[recognition.verdict] += 1
        self.dropped += arrival.dropped
        self.waited_ms += arrival.waited_ms
        self.preprocess_ms += timings.preprocess_ms
        self.inference_ms += timings.inference_ms
        self.search_ms += timings.search_ms

    def values(self) -> dict[str, str]:
        """Every figure with its name and unit."""
        mean = 1.0 / max(1, self.processed)
        return {
            'images received': str(self.received),
            'images processed': str(self.processed),
            'images dropped for a newer one': str(self.dropped),
            'images lost on the way': str(self.lost),
            **{f'{verdict.name.lower()}': str(self.verdicts[verdict]) for verdict in Verdict},
            'mean wait, ms': f'{mean * self.waited_ms:.1f}',
            'mean preprocessing, ms': f'{mean * self.preprocess_ms:.1f}',
            'mean inference, ms': f'{mean * self.inference_ms:.1f}',
            'mean search, ms': f'{mean * self.search_ms:.1f}',
        }


def status(
    name: str, warning: str | None, summary: str, values: dict[str, str]
) -> DiagnosticStatus:
    """One status: the warning where there is one, the summary otherwise."""
    return DiagnosticStatus(
        level=DiagnosticStatus.WARN if warning else DiagnosticStatus.OK,
        name=f'{name}: place recognition',
        message=warning or summary,
        hardware_id=name,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
