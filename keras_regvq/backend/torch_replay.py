"""A function of tensors that PyTorch computes again and again, without Keras's share of it.

What the layers of a network call is the same each time. So one call writes it down, and the next
ones run that list: in a small U-Net Keras takes a third of the time to come to these calls.
"""

from typing import NamedTuple

import torch
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

TOLERANCE = 1e-4  # of the largest number: rounding depends on where a tensor lies in memory
# What says something of a tensor, but nothing of its values.
_OF_SHAPES = {"__get__", "__len__", "dim", "is_contiguous", "is_complex", "is_floating_point"}
_OF_SHAPES |= {"is_inference", "numel", "size", "stride"}
_LAYOUTS = {"contiguous", "permute", "reshape", "t", "to", "transpose"}  # of the same values


class Replayed:
    """Calls a function, and from the third call on only what it called of PyTorch's.

    The first call is recorded. The next of such inputs is computed both ways: where they differ, or
    where the function looked at its inputs' values, it is called each time, and so it is for inputs
    of another shape.

    Args:
        function: maps tensors to one tensor, without gradients. What else it reads must not change
            between the calls.
    """

    def __init__(self, function):
        self.function, self.recording = function, None
        self.called = self.checked = False

    def __call__(self, *inputs):
        if not self.called:
            output, self.recording = _record(self.function, inputs)
            self.called = True
            return output
        if self.recording is None or self.recording.kinds != _kinds(inputs):
            return self.function(*inputs)
        replayed = self.recording.run(inputs)
        if self.checked:
            return replayed
        output = self.function(*inputs)
        self.checked = True
        if not (replayed - output).abs().max() <= TOLERANCE * output.abs().max():
            self.recording = None
        return output


class _Number(int):
    """Stands for the tensor of that number among a step's arguments."""


class _Step(NamedTuple):
    operation: object
    args: list
    names: tuple  # of the last of them, which are given by name
    places: list  # of those that are or hold tensors of other steps
    results: list  # their numbers
    last: list  # numbers that no later step reads


class _Recording(NamedTuple):
    steps: list
    kinds: list  # of the inputs
    output: int

    def run(self, inputs):
        values = dict(enumerate(inputs))
        for operation, args, names, places, results, last in self.steps:
            args = list(args)
            for place in places:
                args[place] = _filled(args[place], values)
            if names:
                split = len(args) - len(names)
                found = operation(*args[:split], **dict(zip(names, args[split:], strict=True)))
            else:
                found = operation(*args)
            values.update(zip(results, _as_list(found), strict=True))
            for number in last:
                del values[number]
        return values[self.output]


class _Recorder(TorchFunctionMode):
    def __init__(self, inputs):
        super().__init__()
        self.steps, self.count, self.valid = [], len(inputs), True
        self.numbers = WeakIdKeyDictionary()  # of the tensors alive: an id may come again
        for place, tensor in enumerate(inputs):
            self.numbers[tensor] = _Number(place)

    def __torch_function__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = [self._named(arg) for arg in (*args, *kwargs.values())]
        found, name = operation(*args, **kwargs), getattr(operation, "__name__", "")
        tensors = [isinstance(result, torch.Tensor) for result in _as_list(found)]
        unchanged = name in _LAYOUTS and any(found is arg for arg in args)
        if not all(tensors):
            # A number, unlike a tensor, may decide what is called next.
            self.valid &= not any(tensors) and name in _OF_SHAPES
        elif not unchanged and (name not in _LAYOUTS or _numbers_in(given)):
            places = [place for place, arg in enumerate(given) if _numbers_in(arg)]
            results = [self._give_number(result) for result in _as_list(found)]
            self.steps.append(_Step(operation, given, tuple(kwargs), places, results, []))
        return found

    def _give_number(self, tensor):
        if tensor not in self.numbers:
            self.numbers[tensor] = _Number(self.count)
            self.count += 1
        return self.numbers[tensor]

    def _named(self, arg):
        if isinstance(arg, torch.Tensor):
            return self.numbers.get(arg, arg)
        return _in_each(self._named, arg)


def _record(function, inputs):
    with _Recorder(inputs) as recorder:
        output = function(*inputs)
    if not recorder.valid or output not in recorder.numbers:
        return output, None
    seen = {recorder.numbers[output]}
    for step in reversed(recorder.steps):
        last = {*step.results, *_numbers_in(step.args)} - seen
        step.last.extend(last)
        seen |= last
    return output, _Recording(recorder.steps, _kinds(inputs), recorder.numbers[output])


def _kinds(inputs):
    return [(tensor.shape, tensor.dtype, tensor.device) for tensor in inputs]


def _filled(arg, values):
    if isinstance(arg, _Number):
        return values[arg]
    return _in_each(lambda item: _filled(item, values), arg)


def _in_each(function, arg):
    """Of each item of a list or a tuple; anything else as it is."""
    if isinstance(arg, (list, tuple)):
        return (tuple if isinstance(arg, tuple) else list)(map(function, arg))
    return arg


def _numbers_in(arg):
    if isinstance(arg, _Number):
        return [arg]
    return [n for item in arg for n in _numbers_in(item)] if isinstance(arg, (list, tuple)) else []


def _as_list(found):
    return list(found) if isinstance(found, (list, tuple)) else [found]
