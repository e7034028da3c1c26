"""Methods over time, by name."""

from __future__ import annotations

from vpr_ros.config import TemporalConfig
from vpr_ros.recognition.neighbourhood import NEIGHBOURHOOD_M
from vpr_ros.recognition.over_time.place_filter import PlaceFilter
from vpr_ros.recognition.over_time.query import Support, Temporal, TemporalQuery
from vpr_ros.recognition.over_time.sequence import SequenceMatcher


class NoTemporal:
    """Every query stands for itself."""

    def reset(self) -> None:
        """Nothing is remembered."""

    def update(self, query: TemporalQuery) -> Support:
        """The place believed in already; its mass is not known."""
        return Support(query.best_row, float('nan'))


def build_temporal(config: TemporalConfig, neighbourhood_m: float = NEIGHBOURHOOD_M) -> Temporal:
    """The method of these settings; agreement is a rule of the decision and no method here.

    Args:
        config: settings.
        neighbourhood_m: places this near to each other are the same answer.
    """
    if config.method == 'filter':
        return PlaceFilter(config, neighbourhood_m)
    if config.method == 'sequence':
        return SequenceMatcher(config, neighbourhood_m)
    return NoTemporal()
