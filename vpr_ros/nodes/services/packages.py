"""Where installed packages keep their files."""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

from vpr_ros.errors import MapAddressError


def package_share(package: str) -> Path:
    """The share folder of an installed package.

    Raises:
        MapAddressError: there is none of this name.
    """
    try:
        return Path(get_package_share_directory(package))
    except (PackageNotFoundError, ValueError, OSError):  # the last: no workspace is sourced
        raise MapAddressError(
            f'no package {package!r} is installed: build it and source its workspace, or give a '
            'path'
        ) from None
