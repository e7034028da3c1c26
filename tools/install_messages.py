"""Build interface packages with cmake and install them into this virtual environment.

Run by the Makefile with the interpreter of the environment, which must hold the ROS wheels. A
package that came from elsewhere is left as it is. Packages are built side by side, so they may
depend on the wheels and not on one another.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy

# The wheels' exported CMake files name folders of the machine that built them.
FOREIGN = {
    r'/opt/python/cp[^/]+/lib/python[\d.]+/site-packages/numpy/_core/include': numpy.get_include(),
    r'/opt/python/cp[^/]+/include/python[\d.]+': sysconfig.get_path('include'),
}
OURS = 'vpr_ros maintainers'


def main(*sources: str) -> None:
    if not Path(sysconfig.get_path('include'), 'Python.h').exists():
        sys.exit('Python.h is missing: install it (apt install python3-dev), then make again')
    prefix = Path(sys.prefix)
    repair(prefix / 'share')
    wanted = [Path(source) for source in sources if not foreign(Path(source).name, prefix)]
    with ThreadPoolExecutor(len(wanted) or 1) as pool:
        for _ in pool.map(lambda source: install(source, prefix), wanted):
            pass  # a failure is raised here


def foreign(name: str, prefix: Path) -> bool:
    """Tell whether a package is there already, and not by us."""
    manifest = prefix / 'share' / name / 'package.xml'
    ours = manifest.exists() and OURS in manifest.read_text(encoding='utf-8')
    return not ours and find_spec(name) is not None


def install(source: Path, prefix: Path) -> None:
    """Configure, build and install one package."""
    with tempfile.TemporaryDirectory() as build:
        configure = [
            *('cmake', '-S', str(source), '-B', build, f'-DCMAKE_INSTALL_PREFIX={prefix}'),
            *(f'-DPython3_EXECUTABLE={sys.executable}', '-DBUILD_TESTING=OFF'),
            f'-DCMAKE_PROJECT_INCLUDE={Path(__file__).with_name("python_messages.cmake")}',
        ]
        run(configure, prefix)
        jobs = str(os.cpu_count())
        run(['cmake', '--build', build, '--parallel', jobs, '--target', 'install'], prefix)


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
    main(*sys.argv[1:])
