"""Training tokenizers with `model.fit`."""

from keras_regvq.training import callbacks
from keras_regvq.training.callbacks import (
    CodebookHistogram,
    LowUsageWarning,
    NonFiniteLoss,
    NonFiniteLossError,
    ReconstructionGrid,
    TemperatureSchedule,
)
from keras_regvq.training.tokenizer_trainer import TokenizerTrainer
from keras_regvq.training.two_player_optimizer import TwoPlayerOptimizer

__all__ = [
    "CodebookHistogram",
    "LowUsageWarning",
    "NonFiniteLoss",
    "NonFiniteLossError",
    "ReconstructionGrid",
    "TemperatureSchedule",
    "TokenizerTrainer",
    "TwoPlayerOptimizer",
    "callbacks",
]
