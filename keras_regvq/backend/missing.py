"""What to say where the backend's package is not installed."""

import contextlib
import sys


@contextlib.contextmanager
def naming_what_is_missing():
    """Turn the error about the backend's missing module into one that says what to do."""
    try:
        yield
    except ModuleNotFoundError as error:
        # Once Keras is there it has its backend: KerasHub, or an extra, misses something then.
        if error.name not in ("tensorflow", "jax", "torch") or "keras" in sys.modules:
            raise
        raise ModuleNotFoundError(
            f"Keras is to compute with {error.name} (KERAS_BACKEND, or ~/.keras/keras.json), which "
            f'is not installed: pip install "keras_regvq[{error.name}]", or set KERAS_BACKEND to '
            "tensorflow, jax or torch before keras is imported.",
            name=error.name,
        ) from error
