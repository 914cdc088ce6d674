"""Training tokenizers with `model.fit`."""

from keras_regvq.training.tokenizer_trainer import TokenizerTrainer
from keras_regvq.training.two_player_optimizer import TwoPlayerOptimizer

__all__ = ["TokenizerTrainer", "TwoPlayerOptimizer"]
