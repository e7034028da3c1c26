"""Every setting with its default, unit, range and help: the one home of each default.

The same field becomes a ROS parameter, a command-line option and a YAML key. Later wins:
dataclass, file, command line. An unknown key is an error, and so is a value of another type.
"""

from vpr_ros.config.node import NodeConfig
from vpr_ros.config.options import (
    STRINGS,
    Option,
    checked,
    from_dict,
    live_names,
    load,
    option,
    section,
    to_dict,
    updated,
    walk,
)
from vpr_ros.config.recognition import (
    DecisionConfig,
    KeyframeConfig,
    ModelConfig,
    PoseConfig,
    RecognizerConfig,
    RerankingConfig,
    SearchConfig,
    TemporalConfig,
    VerificationConfig,
)
from vpr_ros.config.training import (
    AugmentConfig,
    LossConfig,
    SamplerConfig,
    TrainConfig,
    TrainerConfig,
    ValidationConfig,
)

__all__ = [
    'AugmentConfig', 'DecisionConfig', 'KeyframeConfig', 'LossConfig', 'ModelConfig', 'NodeConfig',
    'Option', 'PoseConfig', 'RecognizerConfig', 'RerankingConfig', 'STRINGS', 'SamplerConfig',
    'SearchConfig',
    'TemporalConfig', 'TrainConfig', 'TrainerConfig', 'ValidationConfig', 'VerificationConfig',
    'checked',
    'from_dict', 'live_names', 'load', 'option', 'section', 'to_dict', 'updated', 'walk',
]  # fmt: skip
