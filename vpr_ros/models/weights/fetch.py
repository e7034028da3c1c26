"""Published weights onto this machine, in our own format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vpr_ros.download import Patience, Report, download, sha256
from vpr_ros.errors import CheckpointError, ConfigError, DownloadError
from vpr_ros.models.weights.convert import LINEAGE, WeightsFile, convert, inspect
from vpr_ros.models.weights.published import PUBLISHED, Published, cache_folder, fetched_weights


@dataclass(frozen=True)
class Wish:
    """What to fetch, and what of it to insist on."""

    name: str  # a key of PUBLISHED
    folder: Path | None = None  # instead of the cache, where `build_model` looks
    url: str = ''  # instead of the published addresses
    sha256: str = ''  # insist on this one
    verify: bool = False  # insist on the one on record
    again: bool = False  # although it is there


@dataclass(frozen=True)
class Fetched:
    """Weights that are on this machine now."""

    path: Path
    file: WeightsFile
    found: str  # SHA-256 of the published file, as it came
    recorded: str  # the one on record; empty: there is none
    was_there: bool = False

    @property
    def differs(self) -> bool:
        """Whether the file is another than the one that was once recorded."""
        return bool(self.recorded) and self.found != self.recorded


def fetch(
    wish: Wish,
    report: Report = lambda done, total: None,
    patience: Patience | None = None,
) -> Fetched:
    """Fetch published weights and convert them; what is there already is left alone.

    The SHA-256 on record was taken by a third party: it is compared, and insisted on only if the
    caller asks, because the file is read as data and cannot do harm.

    Args:
        wish: what to fetch.
        report: takes bytes there and bytes in all.
        patience: how long a server is waited for.

    Raises:
        ConfigError: nothing is published under this name, or there is no SHA-256 to insist on.
        DownloadError: the file cannot be fetched, or has another SHA-256 than insisted on.
        CheckpointError: it is not the weights that it should be.
    """
    entry, expected = _checked(wish)
    out = fetched_weights(wish.name, wish.folder)
    if out.is_file() and not wish.again:
        try:
            file = inspect(out)
        except CheckpointError as error:
            raise CheckpointError(f'{error}; --again fetches it anew') from None
        found = str(file.provenance.get(LINEAGE, {}).get('sha256', ''))
        _insist(expected, found, out)
        return Fetched(out, file, found, entry.sha256, was_there=True)
    raw, source = _raw(wish, entry, report, patience)
    found = sha256(raw)
    _insist(expected, found, raw)
    try:
        file = convert(raw, out, entry.model, source)
    except CheckpointError as error:
        raise CheckpointError(f'{error}; {raw} is kept, --again fetches it anew') from None
    raw.unlink()
    return Fetched(out, file, found, entry.sha256)


def _raw(
    wish: Wish, entry: Published, report: Report, patience: Patience | None
) -> tuple[Path, dict[str, str]]:
    """The published file on this machine, and what is known of it."""
    path = (wish.folder or cache_folder()) / 'downloads' / entry.file
    source = {'licence': entry.licence}
    if wish.again or wish.url or not path.is_file():  # else it came before, but stayed unconverted
        addresses = (wish.url,) if wish.url else entry.addresses
        address = download(addresses, path, report, patience).address
        source['address'] = address.partition('?')[0]  # what follows may be somebody's key
    return path, source


def _checked(wish: Wish) -> tuple[Published, str]:
    """What is published under the name, and the SHA-256 to insist on, if any."""
    entry = PUBLISHED.get(wish.name)
    if entry is None:
        raise ConfigError(
            f'nothing is published as {wish.name!r}: expected one of {", ".join(PUBLISHED)}'
        )
    if wish.verify and not (wish.sha256 or entry.sha256):
        raise ConfigError(f'no SHA-256 of {entry.file} is on record: give one with --sha256')
    return entry, (wish.sha256 or (entry.sha256 if wish.verify else '')).lower()


def _insist(expected: str, found: str, path: Path) -> None:
    if expected and found != expected:
        raise DownloadError(
            f'{path} has SHA-256 {found or "unknown"}, expected {expected}: it was not converted; '
            'fetch it with --again, or without insisting if you trust it'
        )
