"""Weights of a model beside the tensors of a file that hold them, and how they are set."""

from typing import NamedTuple

import numpy as np
from keras import ops

from keras_regvq.checks.arguments import refuse
from keras_regvq.checks.finite import is_finite


class NamedTensor(NamedTuple):
    """A weight of a model: its name in a file, its shape there, and how it gets into Keras."""

    name: str
    variable: object
    shape: tuple

    def to_keras(self, array):
        """An array of the file's shape -> one of the variable's."""
        if len(self.shape) == 4:  # (out, in, h, w), also of what is a matrix here
            array = array.transpose(2, 3, 1, 0)
        return np.reshape(array, tuple(self.variable.shape))

    def to_file(self):
        """The variable's value as the file has it, float32."""
        value = ops.convert_to_numpy(self.variable).astype("float32")
        if len(self.shape) == 4:
            value = np.reshape(value, (*self.shape[2:], self.shape[1], self.shape[0]))
            value = value.transpose(3, 2, 0, 1)
        return np.ascontiguousarray(np.reshape(value, self.shape))


class LinearTensor(NamedTensor):
    """The weight (outputs, inputs) of a PyTorch Linear, here a kernel (inputs, outputs)."""

    def to_keras(self, array):
        return np.reshape(array.T, tuple(self.variable.shape))

    def to_file(self):
        value = ops.convert_to_numpy(self.variable).astype("float32")
        return np.ascontiguousarray(np.reshape(value, self.shape[::-1]).T)


def assign_all(wanted, tensors, source):
    """Set every weight from a file's tensors; all are checked before the first is set.

    Args:
        wanted: list of NamedTensor.
        tensors: {name: array} of the file.
        source: what to call the file in errors.

    Raises:
        ValueError: if tensors are missing, left over, of another shape, or no finite numbers.
    """
    check_tensors({tensor.name: tensor.shape for tensor in wanted}, tensors, source)
    for tensor in wanted:
        tensor.variable.assign(tensor.to_keras(tensors[tensor.name].astype("float32")))


def check_tensors(shapes, tensors, source):
    """Refuse a file's tensors, {name: array}, that are not those of `shapes`, {name: shape}."""
    names = list(shapes)
    missing = [name for name in names if name not in tensors]
    extra = sorted(set(tensors) - set(names))
    misshapen = [
        f"{name} of shape {tuple(tensors[name].shape)} instead of {shape}"
        for name, shape in shapes.items()
        if name in tensors and tuple(tensors[name].shape) != shape
    ]
    kinds = {"lacks": missing, "has in addition": extra, "has": misshapen}
    if not any(kinds.values()):
        kinds["has, with NaN or infinity,"] = [
            name for name in names if not _is_number(tensors[name])
        ]
    problems = [
        f"{kind} {len(found)} tensors ({_some(found)})" for kind, found in kinds.items() if found
    ]
    if problems:
        expected = f"the {len(names)} tensors of this architecture"
        refuse("checkpoint", f"{source}, which {'; '.join(problems)}", expected)


def _some(names):
    return ", ".join(f"{name:.120}" for name in names[:3]) + ", ..." * (len(names) > 3)


def _is_number(array):
    return array.dtype.kind in "fiub" and is_finite(array)
