"""Geometry is asked about the best candidates: as few as will do."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from vpr_ros.config import RecognizerConfig
from vpr_ros.config.recognition import VerificationConfig
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.recognition.decision import Thresholds
from vpr_ros.recognition.described import Query, by_view
from vpr_ros.recognition.geometry.verification import SIFT, QueryView, Verifier, passed
from vpr_ros.records import Camera, Candidate, View

AHEAD = 2  # places before and after a confirmed one: the robot is likely to see one of them next


def thorough(config: RecognizerConfig) -> RecognizerConfig:
    """Settings that verify even what is refused in any case: to fit and compare, not to drive."""
    verification = replace(config.verification, below_threshold=True)
    return replace(config, verification=verification)


def least_similarity(config: RecognizerConfig, thresholds: Thresholds | None) -> float:
    """Of a candidate whose geometry can matter; -inf: of all.

    Where the similarity decides, one below its threshold is refused whatever geometry says.
    """
    if thresholds is None or config.verification.below_threshold:
        return -math.inf
    return thresholds.similarity if math.isnan(thresholds.probability) else -math.inf


class Confirmer:
    """Puts candidates that geometry confirms before those it contradicts.

    One thread at a time.
    """

    def __init__(
        self,
        place_map: PlaceMap,
        config: VerificationConfig,
        input_size: tuple[int, int],
        rows: Mapping[int, int],
        camera: Callable[[str], Camera | None],
        least: float = -math.inf,
    ) -> None:
        """Build the stage.

        Args:
            place_map: of the candidates.
            config: of the stage.
            input_size: height and width of the model's input, which local positions refer to.
            rows: of the map's places, by their ids.
            camera: model of a camera of the queries, by its name.
            least: similarity of a candidate that is worth the time.
        """
        self.config = config
        self._place_map, self._rows, self._camera = place_map, rows, camera
        self._input_size, self._least = input_size, least
        self._verifier = Verifier(config, place_map)
        self._confirmed: Candidate | None = None  # of the last query, if any
        self._by_sift: str | None = None  # camera whose view SIFT was asked about just before

    def begin(self, views: Sequence[View]) -> None:
        """Told of views that are about to be described.

        Where SIFT had to be asked at the query before, it will most likely have to be again: it
        looks at the image while the model describes it. No answer depends on that.
        """
        self._verifier.forget_query()
        for view in views:
            if view.camera == self._by_sift:
                self._verifier.begin(view.image)

    def look_ahead(self) -> None:
        """Make ready the places beside the last one that was confirmed, while nobody waits.

        The robot is likely to see one of them next; no answer depends on it.
        """
        if (confirmed := self._confirmed) and confirmed.verification:
            self._verifier.expect(self._beside(confirmed), confirmed.verification)
        self._confirmed = None

    def confirm(self, query: Query, candidates: list[Candidate]) -> list[Candidate]:
        """Verify the first candidates; the order of equals stays.

        The first that is confirmed ends the search for one, if not told otherwise; what similarity
        refuses is not looked at, if not told otherwise.
        """
        self._by_sift = None
        asked: dict[str, QueryView] = {}
        judged: list[Candidate] = []
        for candidate in candidates[: self.config.candidates]:
            if candidate.similarity < self._least:
                judged.append(candidate)
                continue
            judged.append(self._verified(query, candidate, asked))
            if self.config.until_confirmed and self._confirms(judged[-1]):
                self._confirmed = judged[-1]
                break
        rest = candidates[len(judged) :]
        return sorted(judged + rest, key=lambda candidate: not self._confirms(candidate))

    def _verified(
        self, query: Query, candidate: Candidate, asked: dict[str, QueryView]
    ) -> Candidate:
        """By the view that found it; one `QueryView` for all candidates of a view."""
        ((view, some),) = by_view(query, [candidate])
        if view.camera not in asked:
            camera = self._camera(view.camera)
            asked[view.camera] = QueryView(
                view.image, view.local, view.depth, self._input_size, camera
            )
        found = replace(self._verifier.verify(asked[view.camera], some)[0], tried=True)
        if found.verification and found.verification.method == SIFT:
            self._by_sift = view.camera
        return found

    def _confirms(self, candidate: Candidate) -> bool:
        return passed(candidate.verification, self.config)

    def _beside(self, confirmed: Candidate) -> list[int]:
        """Places of the same session beside a confirmed one, and itself."""
        row, place = self._rows[confirmed.place.id], confirmed.place
        around = self._place_map.places[max(0, row - AHEAD) : row + AHEAD + 1]
        return [x.id for x in around if x.session_id == place.session_id]
