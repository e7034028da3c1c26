"""The outings of a survey: who drives when, and every picture that is taken on the way."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vpr_ros.errors import ConfigError
from vpr_ros.synthetic.camera import View
from vpr_ros.synthetic.lights import ALL_LIGHTS, Session
from vpr_ros.synthetic.occluders import Occluder
from vpr_ros.synthetic.routes import streets_alike
from vpr_ros.synthetic.seasons import SEASONS
from vpr_ros.synthetic.streets import Plan, plan_town

SPACING_M = 12.0  # from place to place
CLEAR_M = 8.0  # between a place and the crossing at either end of the street
ALONG_M = 3.0  # how far from the middle of its place a picture is taken
BLOCKS_A_GROUP = 6  # of a town, for each group of three that look alike
NIGHT_EXPOSURE = 1.35

# In this order, so that every second one is by day; later ones wear out the same list again.
CONDITIONS = (
    ('noon', 'summer'), ('night', 'autumn'), ('morning', 'spring'), ('overcast', 'winter'),
    ('afternoon', 'autumn'), ('dusk', 'summer'), ('overcast', 'spring'), ('rain', 'autumn'),
    ('afternoon', 'winter'), ('night', 'winter'), ('morning', 'summer'), ('evening', 'autumn'),
    ('noon', 'spring'), ('dusk', 'winter'), ('overcast', 'summer'), ('fog', 'spring'),
)  # fmt: skip


@dataclass(frozen=True)
class Outing:
    """One drive through all streets of a town, in both directions."""

    name: str
    light: str  # one of ALL_LIGHTS
    season: str  # one of SEASONS
    views: int = 1  # of each place
    occluded: float = 1 / 3  # share of the pictures with something before the camera

    def __post_init__(self) -> None:
        for what, value, known in (
            ('light', self.light, ALL_LIGHTS), ('season', self.season, SEASONS)
        ):  # fmt: skip
            if value not in known:
                raise ConfigError(
                    f'outing {self.name!r}: {what} {value!r} is none of {", ".join(known)}'
                )
        if not self.name or not all(c.isalnum() or c in '-_' for c in self.name):
            raise ConfigError(
                f'{self.name!r} cannot name an outing: it becomes a folder and a part of file '
                'names, use letters, digits, - and _'
            )

    def session(self, seed: Sequence[int]) -> Session:
        """Camera, parked cars and exposure of this outing, drawn by lot."""
        drawn = Session.random(np.random.default_rng(seed), self.light)
        dark = NIGHT_EXPOSURE if drawn.light.headlights else 1.0
        return replace(drawn, name=self.name, season=self.season, exposure=drawn.exposure * dark)


def plan_outings(count: int, views: int) -> list[Outing]:
    """Outings in different lights and seasons that see each place `views` times in all.

    Raises:
        ConfigError: fewer views than outings, or no outing.
    """
    turns = zip(itertools.cycle(CONDITIONS), _shared(views, count), strict=False)
    return [
        Outing(f's{number:02d}-{light}-{season}', light, season, share)
        for number, ((light, season), share) in enumerate(turns)
    ]


def named_outings(names: str, views: int | None = None) -> list[Outing]:
    """Outings as written on a command line: `NAME=LIGHT/SEASON,...`.

    `views` of each place are shared out as `plan_outings` does; None: one an outing.

    Raises:
        ConfigError: not of this form, an unknown light or season, fewer views than outings.
    """
    parts = names.split(',')
    shares = _shared(len(parts) if views is None else views, len(parts))
    found = []
    for part, share in zip(parts, shares, strict=True):
        name, _, condition = part.partition('=')
        light, slash, season = condition.partition('/')
        if not slash:
            raise ConfigError(
                f'sessions: expected a number or NAME=LIGHT/SEASON,..., found {part!r}'
            )
        found.append(Outing(name, light, season, share))
    return found


def _shared(views: int, count: int) -> list[int]:
    if count < 1 or views < count:
        raise ConfigError(
            f'{views} views of each place in {count} sessions: every session needs at least one'
        )
    return [views // count + (number < views % count) for number in range(count)]


@dataclass(frozen=True)
class Spots:
    """P places of a town: a spot in the middle of a street, and a direction."""

    position_m: np.ndarray  # (P, 2)
    yaw_rad: np.ndarray  # (P,)
    alike: np.ndarray  # (P,) int64, the same for places that look alike on purpose; -1: unique

    def __len__(self) -> int:
        return len(self.yaw_rad)


def spots_of(plan: Plan) -> Spots:
    """All places of a town: every street, both directions, `SPACING_M` apart or a little more."""
    rows: list[tuple[float, float, float]] = []
    alike: list[int] = []
    groups: dict[tuple[int, bool, int], int] = {}
    named = {way: g for g, group in enumerate(streets_alike(plan)) for way in group}
    for street in plan.streets:
        way = (street.start, street.end)
        start, end = plan.crossings_m[list(way)]
        length = float(np.linalg.norm(end - start))
        count = int((length - 2 * CLEAR_M) // SPACING_M) + 1 if length > 2 * CLEAR_M else 0
        for back in (False, True):
            a, ahead = (end, start - end) if back else (start, end - start)
            yaw = float(np.arctan2(ahead[1], ahead[0]))
            for k, share in enumerate(np.linspace(CLEAR_M, length - CLEAR_M, count) / length):
                rows.append((*(a + share * ahead).tolist(), yaw))
                key = (named.get(way, -1), back, k)
                alike.append(groups.setdefault(key, len(groups)) if way in named else -1)
    table = np.array(rows).reshape(-1, 3)
    return Spots(table[:, :2], table[:, 2], np.array(alike, np.int64))


@dataclass(frozen=True)
class Layout:
    """What a town is built from."""

    seed: int
    blocks: tuple[int, int]
    groups: int  # of look-alike blocks

    def plan(self) -> Plan:
        """The plan that `Town.build` makes of it, without the houses."""
        return plan_town(np.random.default_rng([self.seed, 0]), self.blocks, self.groups)


def layout_for(seed: int, places: int) -> Layout:
    """The smallest town, square or nearly so, with at least so many places.

    Raises:
        ConfigError: less than one place.
    """
    if places < 1:
        raise ConfigError(f'a survey of {places} places: at least 1 is needed')
    for both in itertools.count(4):
        rows, columns = both - both // 2, both // 2
        layout = Layout(seed, (rows, columns), rows * columns // BLOCKS_A_GROUP)
        if len(spots_of(layout.plan())) >= places:
            return layout
    raise AssertionError  # itertools.count does not end


@dataclass(frozen=True)
class Shot:
    """One picture to take."""

    place: int
    view: View
    exposure: float  # beside that of the session
    occluder: Occluder | None


def shots_of(
    spots: Spots, outing: Outing, session: Session, rng: np.random.Generator
) -> list[Shot]:
    """Every picture of an outing, place after place, in the right-hand lane."""
    shots = []
    for place in range(len(spots)):
        for _ in range(outing.views):
            view = _beside(spots.position_m[place], float(spots.yaw_rad[place]), session, rng)
            occluder = Occluder.random(rng) if rng.random() < outing.occluded else None
            shots.append(Shot(place, view, float(np.exp(rng.normal(0.0, 0.1))), occluder))
    return shots


def _beside(
    spot_m: np.ndarray, yaw_rad: float, session: Session, rng: np.random.Generator
) -> View:
    along = rng.uniform(-ALONG_M, ALONG_M)
    aside = np.clip(session.lane_offset_m + rng.normal(0.0, 0.3), -2.5, -0.5)
    ahead = np.array([np.cos(yaw_rad), np.sin(yaw_rad)])
    x, y = spot_m + along * ahead + aside * np.array([-ahead[1], ahead[0]])
    pitch, roll = rng.normal(0.0, 0.01, 2).tolist()
    turned = yaw_rad + session.heading_offset_rad + float(rng.normal(0.0, 0.06))
    return View(float(x), float(y), turned, 0.0, pitch, roll)
