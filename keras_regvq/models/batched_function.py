"""Compiled, gradient-free functions of a model, over batches of any length."""

import keras
import numpy as np

from keras_regvq.backend.fast_layers import fixed_weights, use_fast_layers
from keras_regvq.backend.sampling_steps import COMPILE_WITH_XLA
from keras_regvq.checks.arguments import check_positive_integer


class BatchedFunction:
    """Runs a function of a model's layers batch by batch, as `predict_on_batch` does.

    Compiled where the backend compiles, without gradients on PyTorch. A last batch that is
    smaller is filled up, so that one input shape is compiled once. (Not itself a Keras object:
    as an attribute of the model it must not become part of its weights.)

    Args:
        owner: the keras.Model whose variables `function` uses.
        function: maps one batch of inputs, an array or a dict of arrays, to one tensor.
        loops: whether it runs the layers many times, so that a better compiler pays.
    """

    def __init__(self, owner, function, loops=False):
        use_fast_layers(owner)
        self.owner, self.variables = owner, owner.variables
        self.model = _FunctionModel(owner, function)
        if loops and COMPILE_WITH_XLA:
            self.model.jit_compile = True

    def __call__(self, inputs, batch_size, verbose=False):
        """Map an array (B, ...), or a dict of them, to a NumPy array (B, ...).

        Args:
            inputs: the whole batch.
            batch_size: examples worked on at once.
            verbose: whether a progress bar shows; "auto": if there are several batches.
        """
        batch_size = check_positive_integer("batch_size", batch_size)
        variables = self.owner.variables
        if list(map(id, variables)) != list(map(id, self.variables)):  # `quantize` makes others
            self.variables, self.model.predict_function = variables, None
        predict = self.model.predict_on_batch
        count = len(keras.tree.flatten(inputs)[0])
        batches = -(-count // batch_size)
        show = batches > 1 if verbose == "auto" else verbose
        progress = keras.utils.Progbar(count) if show else None
        results = []
        for start in range(0, count, batch_size):
            size = min(batch_size, count - start)
            padding = batch_size - size if batches > 1 else 0
            # The last example again and again where the batch is not full.
            rows = np.minimum(np.arange(start, start + size + padding), count - 1)
            batch = keras.tree.map_structure(lambda array, rows=rows: array[rows], inputs)
            with fixed_weights():
                results.append(predict(batch)[:size])
            if progress is not None:
                progress.update(start + size)
        return results[0] if batches == 1 else np.concatenate(results)


class _FunctionModel(keras.Model):
    def __init__(self, owner, function):
        # Not cast to half precision: random numbers and images are what they are.
        super().__init__(name=f"{owner.name}_function", autocast=False)
        self.owner, self.function = owner, function
        self.built = True

    def call(self, inputs):
        return self.function(inputs)
