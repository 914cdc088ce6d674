"""The random state that belongs to the process: PyTorch has one, which Keras's dropout draws from.

On TensorFlow and JAX all that Keras draws comes from the variables of its seed generators.
"""

import keras
import numpy as np

if keras.backend.backend() == "torch":
    import torch

    def read_global_random_state():
        states = {"torch": torch.get_rng_state().numpy()}
        if torch.cuda.is_available():
            for number, state in enumerate(torch.cuda.get_rng_state_all()):
                states[f"cuda_{number}"] = state.numpy()
        return states

    def write_global_random_state(states):
        if "torch" in states:
            torch.set_rng_state(torch.from_numpy(np.array(states["torch"])))
        for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
            if f"cuda_{number}" in states:
                state = torch.from_numpy(np.array(states[f"cuda_{number}"]))
                torch.cuda.set_rng_state(state, number)

else:

    def read_global_random_state():
        return {}

    def write_global_random_state(states):
        pass


read_global_random_state.__doc__ = """A dict of arrays, empty where there is no such state."""

write_global_random_state.__doc__ = """Set what `read_global_random_state` gave here or elsewhere.

Args:
    states: its dict; what this backend or machine does not have is passed over.
"""
