"""Compiled, gradient-free functions of a model, over batches of any length."""

import keras
import numpy as np


class CompiledFunction(keras.Model):
    """Runs `function(inputs)` of a model's layers batch by batch, as `predict_on_batch` does.

    Compiled where the backend compiles, without gradients on PyTorch. A last batch that is
    smaller is filled up, so that one input shape is compiled once.

    Args:
        owner: the keras.Model whose variables `function` uses.
        function: maps one batch of inputs to one tensor.
    """

    def __init__(self, owner, function):
        super().__init__(name=f"{owner.name}_{function.__name__.strip('_')}")
        self.owner, self.function = owner, function
        self.built = True

    def call(self, inputs):
        return self.function(inputs)

    def run(self, inputs, batch_size):
        """Map an array (B, ...) to a NumPy array (B, ...)."""
        if len(inputs) <= batch_size:
            return self.predict_on_batch(inputs)
        results = []
        for start in range(0, len(inputs), batch_size):
            batch = inputs[start : start + batch_size]
            missing = batch_size - len(batch)
            if missing:
                batch = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
            results.append(self.predict_on_batch(batch)[: batch_size - missing])
        return np.concatenate(results)
