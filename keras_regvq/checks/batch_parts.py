"""The part of each batch that one of several processes or replicas works on."""

import random
import zlib

import keras
import numpy as np

from keras_regvq.backend.processes import process_index_and_count, told_by_all
from keras_regvq.backend.replicas import replicas_in_process
from keras_regvq.checks.arguments import refuse


class BatchParts:
    """Divides the batches of one argument among the processes that train together.

    Where all processes are given the same first batch, each takes its part of every batch; where
    these differ, the data have been divided already. A batch then has to be divided again among the
    replicas of a process. All parts are of one size, so that the mean over them is the batch's.

    Args:
        argument: the argument's name, for errors.
        model: the one that is trained.
        batch_size: of arrays that hold many batches; None: Keras's 32.
        shuffle: whether arrays have another order in each pass.
        steps: how many batches are taken, or None: all.
    """

    def __init__(self, argument, model, batch_size=None, shuffle=False, steps=None):
        self.argument, self.batch_size, self.shuffle = argument, batch_size or 32, shuffle
        self.index, self.count = process_index_and_count()
        self.replicas = replicas_in_process(model)
        self.divides, self.steps = False, steps

    def look_at(self, first):
        """Find out from the first batch, NumPy arrays, whether this process has a part already."""
        if self.count > 1:
            self.divides = len(set(told_by_all(_checksum(first)))) == 1
            random.seed(told_by_all(random.getrandbits(31))[0])  # Keras shuffles by it

    def check_length(self, length):
        """Refuse data of which processes may have unequal numbers of batches: one would wait.

        Args:
            length: how many batches there are, None or below 0 where that is not known.
        """
        if self.count == 1 or self.steps is not None:
            return
        lengths = told_by_all(-1 if length is None else length)
        if len(set(lengths)) > 1:
            expected = "as many in all, or a number of steps"
            refuse(self.argument, f"{lengths} batches in {self.count} processes", expected)
        if lengths[0] < 0:
            name = "steps_per_epoch" if self.argument == "x" else "validation_steps"
            received = f"an unknown number of batches in {self.count} processes"
            refuse(self.argument, received, f"{name}, for all to take as many")

    def of(self, inputs):
        """This process's part of a batch.

        Raises:
            ValueError: for a batch that cannot be divided.
        """
        size = len(keras.tree.flatten(inputs)[0])
        self._check_size(size)
        if not self.divides:
            return inputs
        length = size // self.count
        own = slice(self.index * length, (self.index + 1) * length)
        return keras.tree.map_structure(lambda values: values[own], inputs)

    def of_arrays(self, inputs):
        """Arrays of many batches, for Keras to read: as they are where one process trains."""
        size = len(keras.tree.flatten(inputs)[0])
        self.look_at(inputs)
        if self.count > 1 and not self.divides:
            self._check_equal(size)
        for batch in (min(self.batch_size, size), size % self.batch_size):
            self._check_size(batch)
        return ArrayBatches(inputs, self) if self.count > 1 else inputs

    def _check_equal(self, size):
        sizes = told_by_all(size)
        if len(set(sizes)) > 1 or self.batch_size % self.count:
            received = f"parts of {sizes} examples, in batches of {self.batch_size}"
            expected = f"parts of one size, and batches of a multiple of {self.count}"
            refuse(self.argument, received, expected)
        self.batch_size //= self.count

    def _check_size(self, size):
        parts = self.replicas * (self.count if self.divides else 1)
        if size % parts:
            refuse(
                self.argument,
                f"a batch of {size} for {parts} replicas",
                f"batches of a multiple of {parts}, the last one too: "
                "drop_remainder=True, or another batch_size",
            )


class ArrayBatches(keras.utils.PyDataset):
    """Batches of arrays, of each this process's part. All processes shuffle alike."""

    def __init__(self, arrays, parts):
        super().__init__()
        self.arrays, self.parts = arrays, parts
        self.size = len(keras.tree.flatten(arrays)[0])
        self.generator = np.random.default_rng(told_by_all(np.random.randint(2**31 - 1))[0])
        self.on_epoch_end()

    @property
    def num_batches(self):
        return -(-self.size // self.parts.batch_size)

    def __getitem__(self, index):
        start = index * self.parts.batch_size
        rows = self.parts.of(self.order[start : start + self.parts.batch_size])
        return (keras.tree.map_structure(lambda values: values[rows], self.arrays),)

    def on_epoch_end(self):
        self.order = np.arange(self.size)
        if self.parts.shuffle:
            self.generator.shuffle(self.order)


def _checksum(inputs):
    checksum = 0
    for values in keras.tree.flatten(inputs):
        checksum = zlib.crc32(np.ascontiguousarray(values).tobytes(), checksum)
    return checksum >> 1
