"""Random draws of layers: other ones in each replica, with a state that is saved with weights."""

import keras
import numpy as np
from keras import ops

from keras_regvq.backend.replicas import replica_count, replica_index

_APART = 63_689_077  # from one replica's seeds to the next one's


class SeedGenerator(keras.random.SeedGenerator):
    """Keras's, whose replicas share one state but draw other numbers, the same in every run."""

    def for_batch(self, values, training):
        """This one while training; else the `BatchSeeds` of integers of the batch."""
        return self if training else BatchSeeds(values)

    def next(self, ordered=True):
        seed = super().next(ordered)
        if replica_count() == 1:
            return seed
        offset = ops.stack([ops.cast(replica_index(), seed.dtype) * _APART, seed[1] * 0])
        return seed + offset


class BatchSeeds(keras.random.SeedGenerator):
    """Seeds without a state, from a batch alone: evaluating it again gives the same numbers.

    Args:
        values: integers of the batch, a tensor of any shape.
    """

    def __init__(self, values):
        self._key = ops.cast(ops.sum(values % 4096), "int32")
        self._drawn = 0

    def next(self, ordered=True):
        self._drawn += 1
        return ops.cast(ops.stack([self._key, self._key * 0 + self._drawn]), "uint32")


class SavesRandomState:
    """Mixin for a Keras layer or model with a `seed_generator`, which may be None.

    Keras itself does not save the state of a SeedGenerator: a run that goes on from a file would
    repeat the first numbers. Files of other origin, without it, load as well.
    """

    def save_own_variables(self, store):
        super().save_own_variables(store)
        if self.seed_generator is not None:
            store["seed"] = np.asarray(ops.convert_to_numpy(self.seed_generator.state.value))

    def load_own_variables(self, store):
        arrays = {key: store[key] for key in store.keys()}
        state = arrays.pop("seed", None)
        super().load_own_variables(arrays)
        if state is not None and self.seed_generator is not None:
            self.seed_generator.state.assign(state)
