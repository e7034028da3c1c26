"""Build an interface package with cmake and install it into this virtual environment.

Run by the Makefile with the interpreter of the environment, which must hold the ROS wheels.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import numpy

# The wheels' exported CMake files name folders of the machine that built them.
FOREIGN = {
    r'/opt/python/cp[^/]+/lib/python[\d.]+/site-packages/numpy/_core/include': numpy.get_include(),
    r'/opt/python/cp[^/]+/include/python[\d.]+': sysconfig.get_path('include'),
}


def main(source: str) -> None:
    if not Path(sysconfig.get_path('include'), 'Python.h').exists():
        sys.exit('Python.h is missing: install it (apt install python3-dev), then make again')
    prefix = Path(sys.prefix)
    repair(prefix / 'share')
    with tempfile.TemporaryDirectory() as build:
        configure = [
            *('cmake', '-S', source, '-B', build, f'-DCMAKE_INSTALL_PREFIX={prefix}'),
            *(f'-DPython3_EXECUTABLE={sys.executable}', '-DBUILD_TESTING=OFF'),
        ]
        run(configure, prefix)
        run(['cmake', '--build', build, '--parallel', '--target', 'install'], prefix)


def repair(share: Path) -> None:
    """Let the wheels' CMake files find the headers of this interpreter."""
    for path in share.rglob('*.cmake'):
        text = repaired = path.read_text(encoding='utf-8')
        for pattern, here in FOREIGN.items():
            repaired = re.sub(pattern, here, repaired)
        if repaired != text:
            path.write_text(repaired, encoding='utf-8')


def run(command: list[str], prefix: Path) -> None:
    """Run quietly; show the whole output of a command that fails, and stop."""
    environment = os.environ | {
        'PATH': f'{prefix / "bin"}{os.pathsep}{os.environ["PATH"]}',
        'AMENT_PREFIX_PATH': str(prefix),
        'CMAKE_PREFIX_PATH': str(prefix),
    }
    try:
        subprocess.check_output(command, env=environment, stderr=subprocess.STDOUT, text=True)
    except subprocess.CalledProcessError as error:
        sys.exit(f'{error.output}\n{" ".join(command)} failed: its output is above')


if __name__ == '__main__':
    main(sys.argv[1])
