"""Keras's weights files: made in memory; read only if they hold a model's weights and no more.

HDF5 ends the process with a segmentation fault when the disk is full, and so would Keras's
`save_weights`. A file made in memory is written by Python, which raises an OSError.
Keras's `load_weights` says nothing of weights that are left over, nor of some that are missing.
"""

import contextlib
import io
import re

import keras
import ml_dtypes
import numpy as np
from keras.src.saving import saving_lib  # private: `save_weights` takes no file in memory

from keras_regvq.backend.layer_tree import all_layers
from keras_regvq.checks.arguments import refuse
from keras_regvq.checks.finite import is_finite
from keras_regvq.files.hdf5 import open_hdf5

# Attributes that a model has only once it is compiled; files of the time before may hold them.
_COMPILED = ("optimizer", "_loss_tracker", "_compile_metrics", "_compile_loss")
_OF_COMPILING = re.compile(rf"(.*/)?({'|'.join(_COMPILED)})/.*")


def weights_in_memory(model, floats=None, compiled=True):
    """The bytes of the file that `model.save_weights` would write.

    Args:
        model: a built keras.Model.
        floats: the dtype that float32 is stored as; None: as it is.
        compiled: whether optimizer, compiled losses and metrics are saved, too.
    """
    buffer = io.BytesIO()
    store = _Writing(buffer, mode="w")
    store.floats = floats
    visited = set() if compiled else _of_compiling(model)
    saving_lib._save_state(
        model, weights_store=store, assets_store=None, inner_path="", visited_saveables=visited
    )
    store.close()
    return buffer.getbuffer()


def load_weights(model, paths, argument="weights"):
    """Load all weights of a model.

    Args:
        model: a built keras.Model.
        paths: the `.weights.h5` file, or the shards of one.
        argument: how to call them in the error.

    Raises:
        ValueError: naming the file, if it is damaged (`hdf5.open_hdf5`), if weights are left over
            in it, missing or of another shape or kind, or not finite. The model is then of no use.
        OSError: naming the file, if it cannot be opened.
    """
    source = ", ".join(repr(str(path)) for path in paths)
    with contextlib.ExitStack() as stack:
        found = {}
        for path in paths:
            datasets = stack.enter_context(open_hdf5(path, argument))[1]
            for name in set(found) & set(datasets):
                refuse(argument, f"{source}, with {name!r} twice", "each weight once")
            found.update(datasets)
        wanted, others = wanted_arrays(model)
        _compare(found, wanted, others, f"{source}, whose weights cannot be read", argument)
        failures = {}
        saving_lib._load_state(
            model,
            weights_store=_Reading(found, wanted, source, argument),
            assets_store=None,
            inner_path="",
            visited_saveables=set(),
            failed_saveables=set(),
            error_msgs=failures,
        )
    for part, error in failures.values():
        if not isinstance(part, keras.metrics.Metric):  # whose state a file may lack
            if isinstance(error, ValueError) and source in str(error):
                raise error
            refuse(argument, f"{source}: {error}", f"weights that fit {part.name!r}")


def wanted_arrays(model):
    """What a weights file of a model holds.

    Returns:
        {name: (shape, dtype)} of the weights, and a set of the names of all else: states of random
        generators and metrics.
    """
    listing = _Listing({id(weight) for weight in model.weights})
    saving_lib._save_state(
        model,
        weights_store=listing,
        assets_store=None,
        inner_path="",
        visited_saveables=_of_compiling(model),
    )
    return listing.weights, listing.others


def sizes_in(paths, argument="weights"):
    """How many numbers, and how many arrays of them, weights files hold."""
    numbers = arrays = 0
    for path in paths:
        with open_hdf5(path, argument) as (_, datasets):
            numbers += sum(dataset.size for dataset in datasets.values())
            arrays += len(datasets)
    return numbers, arrays


def _of_compiling(model):
    """Ids of what `compile` made for a model and the models in it."""
    models = [model, *all_layers(model, include_self=False)]
    return {id(getattr(part, name, None)) for part in models for name in _COMPILED} - {id(None)}


def _compare(found, wanted, others, source, argument):
    """Refuse a file that holds other weights than are wanted."""
    left_over = [name for name in found if name not in wanted and name not in others]
    left_over = [name for name in left_over if not _OF_COMPILING.fullmatch(name)]
    missing = [name for name in wanted if name not in found]
    if left_over or missing:
        parts = [
            f"{len(names)} {what}: {', '.join(names[:4])}{', ...' * (len(names) > 4)}"
            for what, names in (("left over", left_over), ("missing", missing))
            if names
        ]
        expected = f"the model's {len(wanted)} weights, and no others"
        refuse(argument, f"{source}: of {len(found)} arrays {'; '.join(parts)}", expected)
    for name, (shape, dtype) in wanted.items():
        dataset = found[name]
        if dataset.shape != shape or (dataset.dtype.kind in "iub") != _is_integer(dtype):
            received = f"{source}: {name!r} has shape {dataset.shape}, {dataset.dtype}"
            refuse(argument, received, f"shape {shape}, {dtype}")


def _is_integer(dtype):
    return dtype == "bool" or "int" in dtype


class _Writing(saving_lib.H5IOStore):
    """Keras's store, which stores float32 as something else where that is asked for."""

    floats = None

    def __setitem__(self, key, value):
        if self.floats is not None:
            value = keras.ops.convert_to_numpy(value)
            value = value.astype(self.floats) if value.dtype == np.float32 else value
        super().__setitem__(key, value)


class _Listing(saving_lib.H5IOStore):
    """Takes what Keras would save, and keeps names, shapes and dtypes."""

    def __init__(self, ids):
        self.ids, self.weights, self.others, self.prefix = ids, {}, set(), ""

    def __bool__(self):
        return True

    def make(self, path, metadata=None):
        self.prefix = f"{path}/vars/" if path else "vars/"
        return self

    def __setitem__(self, key, value):
        # What is no variable has been computed from weights, but for states of random generators.
        is_variable = isinstance(value, keras.Variable)
        if (id(value) in self.ids) if is_variable else key != "seed":
            dtype = keras.backend.standardize_dtype(value.dtype)
            self.weights[self.prefix + key] = tuple(value.shape), dtype
        else:
            self.others.add(self.prefix + key)


class _Reading(saving_lib.H5IOStore):
    """Gives Keras what it asks for, from data sets that have been checked."""

    def __init__(self, found, wanted, source, argument):
        self.wanted, self.source, self.argument = wanted, source, argument
        self.groups = {}
        for name, dataset in found.items():
            group, _, key = name.rpartition("/")
            self.groups.setdefault(group, {})[key] = dataset

    def __bool__(self):
        return True

    def has_path(self, path):
        return any(group.startswith(f"{path}/") for group in self.groups)

    def get(self, path):
        group = f"{path}/vars" if path else "vars"
        datasets = self.groups.get(group, {})
        return {key: self._read(f"{group}/{key}", value) for key, value in datasets.items()}

    def _read(self, name, dataset):
        values = dataset[()]
        if dataset.dtype.kind == "V":
            values = np.asarray(values).view(ml_dtypes.bfloat16)
        if name in self.wanted and not is_finite(values):
            refuse(self.argument, f"{self.source}, where {name!r} is not finite", "finite weights")
        return values
