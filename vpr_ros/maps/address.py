"""What names a map: a path, a file:// address, or a package:// address."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote_to_bytes

from vpr_ros.errors import MapAddressError

SCHEME = re.compile(r'([A-Za-z][A-Za-z0-9+.-]*):/')
HERE = ('', 'localhost')  # hosts of a file:// address that mean this machine

Share = Callable[[str], Path]


def map_path(url: str, share: Share | None = None) -> Path:
    """The file that is meant.

    A path may begin with ~; the two kinds of addresses are percent-decoded (RFC 8089 for file://).

    Args:
        url: path, file:// or package://PACKAGE/PATH address.
        share: gives the folder of a package; None: package:// is not understood. It raises
            MapAddressError for a package that is not there.

    Raises:
        MapAddressError: nothing is named, or in a way that is not understood.
    """
    if not url:
        raise MapAddressError('no map is named: expected a path, file:// or package:// address')
    scheme = SCHEME.match(url)
    if not scheme:
        return _path(url)
    rest, kind = url[scheme.end() - 1 :], scheme[1].lower()
    host, below = _host(rest)
    if kind == 'file' and host in HERE:
        return _path(_decoded(below), home=False)
    if kind == 'package' and share and host and below.strip('/'):
        return share(host) / _path(_decoded(below).lstrip('/'), home=False)
    expected = 'a path, file:///PATH' + (' or package://PACKAGE/PATH' if share else '')
    raise MapAddressError(f'cannot find a map by {url!r}: expected {expected} on this machine')


def _host(rest: str) -> tuple[str, str]:
    """Host and path of what follows the colon."""
    if not rest.startswith('//'):
        return '', rest
    host, slash, below = rest[2:].partition('/')
    return host.lower() if host.lower() in HERE else host, slash + below


def _decoded(text: str) -> str:
    return os.fsdecode(unquote_to_bytes(text))


def _path(text: str, home: bool = True) -> Path:
    if '\0' in text or not text.strip('/'):
        raise MapAddressError(f'{text!r} cannot be the name of a file')
    try:
        return Path(text).expanduser() if home else Path(text)
    except RuntimeError:
        raise MapAddressError(f'{text!r} is in the home of a user who is not known here') from None
