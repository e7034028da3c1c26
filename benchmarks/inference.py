"""`vpr benchmark`, and the authors' own code beside it in the same run.

    python benchmarks/inference.py [MODEL ...] --against DIR [DIR ...] --dinov2 DIR [options]

The folders of --against are checkouts of github.com/chenshunpeng/SAGE or chenshunpeng/FoL, that of
--dinov2 of facebookresearch/dinov2. Their networks run as shipped, in fp32, with the weights of
ours, and take turns with ours, so that a busy machine treats both alike. Without MODEL: all that
they have, too. The other options are those of `vpr benchmark --help`.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from authors import Folders, counterpart

from vpr_ros.cli.benchmark import add_options, chosen_cases, measure_and_show
from vpr_ros.errors import ConfigError, VprError
from vpr_ros.evaluation.speed import usual_models
from vpr_ros.threads import share_the_processor

# By a file that tells a checkout: its name here, and our models of which it has the counterpart.
CHECKOUTS = {
    'aggregators/SAGE.py': ('sage', ('sage_vits', 'sage_vitb', 'sage_vitl', 'sage_vitl_cross')),
    'network_FoL.py': ('fol', ('fol_vitb', 'fol_vitl')),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument('--against', nargs='+', default=[], metavar='DIR', help='SAGE or FoL')
    parser.add_argument('--dinov2', default='', metavar='DIR', help='needed with --against')
    arguments = parser.parse_args()
    found = dict(checkout(parser, folder) for folder in arguments.against)
    if found and not (Path(arguments.dinov2) / 'dinov2' / 'hub').is_dir():
        parser.error('--against needs a checkout of DINOv2: give it with --dinov2')
    theirs = [name for key, names in CHECKOUTS.values() if key in found for name in names]
    models = arguments.models or theirs or usual_models(arguments.device)
    if theirs and not set(models) & set(theirs):
        parser.error(f'those checkouts have none of these models, but {", ".join(theirs)}')
    folders = Folders(found.get('sage', ''), found.get('fol', ''), arguments.dinov2)
    share_the_processor()
    try:
        cases = [
            replace(case, rival=partial(counterpart, folders)) if case.model in theirs else case
            for case in chosen_cases(arguments, models)
        ]
        measure_and_show(arguments, cases)
    except VprError as error:
        parser.exit(2 if isinstance(error, ConfigError) else 1, f'{parser.prog}: {error}\n')
    return 0


def checkout(parser: argparse.ArgumentParser, folder: str) -> tuple[str, str]:
    """Which of CHECKOUTS a folder is, and the folder."""
    kinds = [key for file, (key, _) in CHECKOUTS.items() if (Path(folder) / file).is_file()]
    if not kinds:
        parser.error(f'{folder} is no checkout of SAGE or FoL: it has none of {[*CHECKOUTS]}')
    return kinds[0], folder


if __name__ == '__main__':
    sys.exit(main())
