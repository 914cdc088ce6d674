"""A network that measures others: trained once, and kept in a file."""

import zipfile
from pathlib import Path

import keras

from keras_regvq.checks.arguments import refuse
from keras_regvq.files.replacing import replacing


def kept_network(path, build, train):
    """The network in the file `path`, or a new one, which is then kept there.

    Args:
        path: a .keras file. If it is missing or damaged, one line says so and it is made anew.
        build: function that builds the network.
        train: function that trains it in place.

    Raises:
        ValueError: for a path that does not end in .keras, and for an intact file of another
            network, which stays as it is.
        OSError: naming it, if it cannot be written; before the training, where that is known.
    """
    path = Path(path)
    if path.suffix != ".keras":
        refuse("path", repr(str(path)), "a name that ends in .keras")
    network = build()
    if path.exists():
        problem = _load(path, network)
        if problem is None:
            return network
        if _is_intact(path):
            expected = f"a file of this {network.name}, or another name: it is not overwritten"
            refuse("path", f"{str(path)!r}: {problem}", expected)
        print(f"{path} cannot be used ({problem}): it is made anew.", flush=True)
    with replacing(path) as part:  # a folder that cannot be written is told before the training
        print(f"Training the {network.name.replace('_', ' ')}, which is kept in {path} ...")
        train(network)
        network.save(part)
    return network


def _load(path, network):
    """Load weights from `path`; what is wrong with the file, or None."""
    try:
        found = keras.saving.load_model(path, compile=False)
        shapes = [[tuple(w.shape) for w in model.weights] for model in (found, network)]
        if shapes[0] != shapes[1]:
            return f"it holds another network, {found.name}"
        network.set_weights(found.get_weights())
    except Exception as error:  # whatever Keras raises for a damaged file
        lines = str(error).strip().splitlines()
        return lines[0] if lines else type(error).__name__
    return None


def _is_intact(path):
    """Whether a file is one that Keras saved, of whatever network."""
    try:
        with zipfile.ZipFile(path) as file:
            return "config.json" in file.namelist() and file.testzip() is None
    except Exception:  # a damaged file can fail anywhere inside zipfile
        return False
