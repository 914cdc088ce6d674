"""Keeping a layer's random state with its weights."""

import numpy as np
from keras import ops


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
