"""Training tokenizers with `model.fit`."""

from keras_regvq.backend.distribution import data_parallel
from keras_regvq.training import callbacks
from keras_regvq.training.adversarial.two_player_optimizer import TwoPlayerOptimizer
from keras_regvq.training.callbacks import (
    Backup,
    CodebookHistogram,
    LowUsageWarning,
    NonFiniteLoss,
    NonFiniteLossError,
    ReconstructionGrid,
    TemperatureSchedule,
)
from keras_regvq.training.muon import Muon
from keras_regvq.training.tokenizer_trainer import TokenizerTrainer

__all__ = [
    "Backup",
    "CodebookHistogram",
    "LowUsageWarning",
    "Muon",
    "NonFiniteLoss",
    "NonFiniteLossError",
    "ReconstructionGrid",
    "TemperatureSchedule",
    "TokenizerTrainer",
    "TwoPlayerOptimizer",
    "callbacks",
    "data_parallel",
]
