"""Callbacks for `TokenizerTrainer.fit`."""

from keras_regvq.training.callbacks.epoch_picture import (
    CodebookHistogram,
    EpochPicture,
    ReconstructionGrid,
)
from keras_regvq.training.callbacks.low_usage_warning import LowUsageWarning
from keras_regvq.training.callbacks.non_finite_loss import NonFiniteLoss, NonFiniteLossError
from keras_regvq.training.callbacks.temperature_schedule import TemperatureSchedule

__all__ = [
    "CodebookHistogram",
    "EpochPicture",
    "LowUsageWarning",
    "NonFiniteLoss",
    "NonFiniteLossError",
    "ReconstructionGrid",
    "TemperatureSchedule",
]
