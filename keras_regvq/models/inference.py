"""Compiled, gradient-free functions of a model, over batches of any length."""

import keras
import numpy as np


class BatchedFunction:
    """Runs a function of a model's layers batch by batch, as `predict_on_batch` does.

    Compiled where the backend compiles, without gradients on PyTorch. A last batch that is
    smaller is filled up, so that one input shape is compiled once. (Not itself a Keras object:
    as an attribute of the model it must not become part of its weights.)

    Args:
        owner: the keras.Model whose variables `function` uses.
        function: maps one batch of inputs to one tensor.
    """

    def __init__(self, owner, function):
        self.model = _FunctionModel(owner, function)

    def __call__(self, inputs, batch_size):
        """Map an array (B, ...) to a NumPy array (B, ...)."""
        predict = self.model.predict_on_batch
        if len(inputs) <= batch_size:
            return predict(inputs)
        results = []
        for start in range(0, len(inputs), batch_size):
            batch = inputs[start : start + batch_size]
            missing = batch_size - len(batch)
            if missing:
                batch = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
            results.append(predict(batch)[: batch_size - missing])
        return np.concatenate(results)


class _FunctionModel(keras.Model):
    def __init__(self, owner, function):
        super().__init__(name=f"{owner.name}_{function.__name__}")
        self.owner, self.function = owner, function
        self.built = True

    def call(self, inputs):
        return self.function(inputs)
