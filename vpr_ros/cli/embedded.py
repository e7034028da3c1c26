"""`vpr rtabmap-descriptor`: where the script is that RTAB-Map embeds, and what to set for it."""

from __future__ import annotations

import argparse
import sys
from importlib.resources import files

from vpr_ros.config import ModelConfig


def add_commands(commands: argparse._SubParsersAction) -> None:
    script = commands.add_parser(
        'rtabmap-descriptor', help="RTAB-Map's parameters for describing its nodes with our model"
    )
    script.add_argument('--model', default=ModelConfig().name, help='model name, see `vpr models`')
    script.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from vpr_ros.errors import ConfigError
    from vpr_ros.models.registry import MODELS

    if (spec := MODELS.get(arguments.model)) is None:
        raise ConfigError(f'no model {arguments.model!r}: expected one of {", ".join(MODELS)}')
    parameters = {
        'Mem/GlobalDescriptorStrategy': '1',
        'PyDescriptor/Path': str(files('vpr_ros') / 'embedded' / 'vpr_descriptor.py'),
        'PyDescriptor/Dim': str(spec.descriptor_dim),
        'Kp/TfIdfLikelihoodUsed': 'false',
        'Mem/RehearsalSimilarity': '1.0',
    }
    print(f'# environment of RTAB-Map: VPR_MODEL={arguments.model} OMP_WAIT_POLICY=PASSIVE')
    if sys.prefix != sys.base_prefix:
        paths = ':'.join(x for x in sys.path if x.endswith('-packages'))
        print(f'# and, as this is a virtual environment: PYTHONPATH={paths}:$PYTHONPATH')
    print('# a new database, and an RTAB-Map that was built with WITH_PYTHON=ON')
    for name, value in parameters.items():
        print(f"{name}: '{value}'")
