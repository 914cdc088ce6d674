"""The one check of what `fit`, `evaluate` and `predict` are given, batch by batch.

A label, token or pixel out of range stops nothing inside a compiled step: TensorFlow and JAX train
on zeros or NaN instead, and only PyTorch may fail. So every batch is looked at on the host while it
is fed, whatever it comes from, and all backends refuse the same data with the same words.
"""

import itertools

import keras
import numpy as np

from keras_regvq.backend.datasets import (
    data_loader_of,
    dataset_of_parts,
    dataset_with_look,
    is_data_loader,
    is_dataset,
    number_of_batches,
    to_numpy,
)
from keras_regvq.backend.parts_of_batches import is_marked_as_part
from keras_regvq.checks.arguments import refuse
from keras_regvq.checks.worker_processes import WorkerBatches

KINDS = "a tf.data.Dataset, keras PyDataset, PyTorch DataLoader or generator"


class FitData:
    """Checks one argument that holds data, and lets Keras read the same data.

    Args:
        argument: its name, for errors.
        model: has `select_inputs(argument, batch)`, which takes what the model needs out of a
            batch; `check_inputs(argument, inputs)`, which refuses NumPy arrays that do not fit;
            `encode_inputs(inputs)`, which turns NumPy arrays into what the model takes, and
            `encode_dataset(dataset, refused)`, which does so for a tf.data set, and calls `refused`
            with an error before it raises it; `expected_inputs`, what to say in errors; and
            `bare_inputs`, what to call inputs that are no dict.
        parts: a `BatchParts`, or None where batches are taken whole.

    Attributes:
        refusal: the error that a batch was refused with. Backends wrap what happens while they
            read data in errors of their own: raise this one instead.
    """

    def __init__(self, argument, model, parts=None):
        self.argument, self.model, self.parts = argument, model, parts
        self.refusal = None

    def of(self, data, look_first=False):
        """`data` in a form that Keras reads on every backend, each batch checked as it is read.

        Args:
            data: arrays, which are checked here and now, or one of `KINDS`.
            look_first: read the first batch of a tf.data set now, to refuse it before training.

        Raises:
            ValueError: for arrays that do not fit, or data of another kind.
        """
        divided = self.parts is not None and self.parts.count > 1
        if divided and not isinstance(data, dict) and not hasattr(data, "dtype"):
            self.parts.check_length(number_of_batches(data))
        if is_dataset(data):
            return self._dataset(data, look_first or divided) if hasattr(data, "map") else data
        if isinstance(data, keras.utils.PyDataset):
            if (look_first and data.num_batches) or divided:
                self._look_at(data[0])
            return _CheckedPyDataset(data, self)
        if is_data_loader(data):
            if divided:
                self._look_at(next(iter(data)))
            return data_loader_of(data, self)
        if hasattr(data, "__next__"):
            if divided:
                first = next(data, None)
                if first is None:
                    refuse(self.argument, "an empty generator", "at least one batch")
                self._look_at(first)
                data = itertools.chain([first], data)
            return ((self(batch),) for batch in data)
        if type(data).__module__.split(".")[0] == "grain" and hasattr(data, "map"):
            if divided:
                self._look_at(next(iter(data)))
            return data.map(lambda batch: (self(batch),))
        if isinstance(data, dict) or hasattr(data, "dtype"):
            inputs = self._arrays(data, self.argument)
            return inputs if self.parts is None else self.parts.of_arrays(inputs)
        received = f"a {type(data).__name__} of {len(data)}" if hasattr(data, "__len__") else data
        refuse(self.argument, received, f"{self.model.expected_inputs}, or {KINDS} of such batches")

    def __call__(self, batch):
        """What the model takes of one batch that has its values, checked: this process's part."""
        try:
            inputs = self._checked(batch)
            return inputs if self.parts is None else self.parts.of(inputs)
        except Exception as error:
            self._refuse(error)
            raise

    def _refuse(self, error):
        self.refusal = error

    def _look_at(self, first, is_part=False):
        inputs = self._checked(first)
        if self.parts is not None and not is_part:
            self.parts.look_at(_map(to_numpy, inputs))

    def _checked(self, batch):
        bare = self.model.bare_inputs
        argument = f"{bare}` of `{self.argument}" if bare else self.argument
        return self._arrays(split_batch(self.argument, batch, self.model), argument)

    def _arrays(self, data, argument):
        inputs = self.model.select_inputs(self.argument, data)
        if isinstance(inputs, dict):
            inputs = {name: _listed(values) for name, values in inputs.items()}
        arrays = _map(to_numpy, inputs)
        encoded = self.model.encode_inputs(arrays)
        self.model.check_inputs(argument, encoded)
        return inputs if encoded is arrays else encoded

    def _dataset(self, data, look_first):
        data = self.model.encode_dataset(data, self._refuse)

        def select(batch):
            batch = split_batch(self.argument, batch, self.model)
            return self.model.select_inputs(self.argument, batch)

        if look_first:
            try:
                first = next(data.take(1).as_numpy_iterator(), None)
            except Exception:
                if self.refusal is not None:
                    raise self.refusal from None
                raise
            if first is None:
                refuse(self.argument, "an empty dataset", "at least one batch")
            self._look_at(first, is_marked_as_part(data))
        data = dataset_with_look(data, select, self)
        if self.parts is not None and self.parts.divides:
            return dataset_of_parts(data, self.parts.index, self.parts.count)
        return data


class _CheckedPyDataset(keras.utils.PyDataset):
    """Keras may use threads for it, but no processes: these are `WorkerBatches`' and know no model.

    With at least two threads, Keras reads ahead while a batch is trained on.
    """

    def __init__(self, dataset, check):
        processes = dataset.use_multiprocessing and dataset.workers > 0
        threads = max(dataset.workers, 2) if processes else dataset.workers
        super().__init__(threads, use_multiprocessing=False, max_queue_size=dataset.max_queue_size)
        self._dataset, self._check = dataset, check
        self._processes = WorkerBatches(dataset) if processes else None

    @property
    def num_batches(self):
        return self._dataset.num_batches

    def __getitem__(self, index):
        return (self._check((self._processes or self._dataset)[index]),)

    def on_epoch_begin(self):
        self._dataset.on_epoch_begin()

    def on_epoch_end(self):
        if self._processes:
            self._processes.close()
        self._dataset.on_epoch_end()


def split_batch(argument, batch, model):
    """The inputs of a batch, which may be a tuple (inputs,), (inputs, y) or (inputs, y, weights).

    Raises:
        ValueError: for sample weights, which no model here takes; and for targets, unless the
            model's `ignores_targets` says that these are what its data often come with.
    """
    if not isinstance(batch, (tuple, list)):
        return batch
    if not 1 <= len(batch) <= 3:
        refuse(argument, f"batches of {len(batch)} parts", model.expected_inputs)
    inputs, targets, weights = (*batch, None, None)[:3]
    refuse_weights(weights)
    if targets is not None and not model.ignores_targets:
        refuse("y", f"targets in {argument}", f"None: only {model.expected_inputs}")
    return inputs


def refuse_weights(sample_weight=None, class_weight=None):
    """Refuse weights of examples: the losses here compare the examples of a batch."""
    for name, value in (("sample_weight", sample_weight), ("class_weight", class_weight)):
        if value is not None:
            received = f"a {type(value).__name__}"
            refuse(name, received, "None: all examples of a batch have the same weight")


def _listed(values):
    return np.asarray(values) if isinstance(values, (list, tuple)) else values


def _map(function, inputs):
    """`function` of an array, or of each in a dict."""
    if isinstance(inputs, dict):
        return {name: function(values) for name, values in inputs.items()}
    return function(inputs)
