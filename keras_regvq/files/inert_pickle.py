"""Pickles, read and not executed.

Python's `pickle` looks names up, calls what it finds, and lets a file change it. Here nothing is
looked up: a pickle's instructions are followed on descriptions alone. What it would call becomes a
`Call`, what it would look up a `Name`. Not even a dict is built, since the hash of a nested key
can take forever.
"""

import pickletools
from pickle import UnpicklingError
from typing import NamedTuple

_MOST_INSTRUCTIONS = 5_000_000  # a checkpoint with its optimizer has some hundred thousand

_LONGEST_NAME = 500


class Name(NamedTuple):
    """What stands in a pickle for a class or function."""

    module: str
    name: str

    def __str__(self):
        return f"{self.module}.{self.name}"


class Call:
    """A call of a named function or class, and what was done to its result."""

    __slots__ = ("function", "arguments", "makes_object", "state", "pairs", "values")

    def __init__(self, function, arguments, makes_object=False):
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise UnpicklingError("it calls what is no function")
        self.function, self.arguments = function, arguments
        self.makes_object = makes_object  # by a class's __new__, which calls nothing else
        self.state, self.pairs, self.values = None, [], []


class Pairs:
    """A dict: its keys and values in a list."""

    __slots__ = ("pairs",)

    def __init__(self, flat=()):
        self.pairs = _paired(flat)


class Values:
    """A set or frozenset."""

    __slots__ = ("values",)

    def __init__(self, values=()):
        self.values = list(values)


class Persistent:
    """What is stored outside of the pickle, by its identifier."""

    __slots__ = ("identifier",)

    def __init__(self, identifier):
        self.identifier = identifier


def read_pickle(file):
    """Read the next pickle of a file in memory.

    Args:
        file: io.BytesIO; afterwards it stands behind the pickle.

    Returns:
        what it describes: numbers, strings, bytes, lists, tuples, and this module's classes; and
        the list of the `Persistent` among them.

    Raises:
        UnpicklingError, ValueError, LookupError, AttributeError: if it is damaged.
    """
    machine = _Machine()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if count == _MOST_INSTRUCTIONS:
            raise UnpicklingError(f"it has more than {count:,} instructions")
        follow = _INSTRUCTIONS.get(opcode.name)
        if follow is not None:
            follow(machine, argument)
        elif opcode.name in _CONSTANTS:
            machine.stack.append(argument)
        elif opcode.name not in _NOTHING_TO_DO:
            raise UnpicklingError(f"it has the instruction {opcode.name}")
    return machine.stack.pop(), machine.persistent


class _Machine:
    def __init__(self):
        self.stack, self.marks, self.memo, self.persistent = [], [], {}, []

    def since_mark(self):
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def push(self, value):
        self.stack.append(value)

    def push_tuple(self, length):
        if length > len(self.stack):
            raise UnpicklingError("it ends too early")
        values = tuple(self.stack[len(self.stack) - length :])
        del self.stack[len(self.stack) - length :]
        self.push(values)

    def pop(self):
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.stack.pop()

    def remember(self, place):
        if place >= 2**32:
            raise UnpicklingError(f"it remembers a value in place {place}")
        self.memo[place] = self.stack[-1]

    def call(self, makes_object=False):
        arguments = self.stack.pop()
        self.push(Call(self.stack.pop(), arguments, makes_object))

    def call_with_options(self):
        self.stack.pop()  # of an object whose content is not needed
        self.call(makes_object=True)

    def call_since_mark(self, name=None):
        values = self.since_mark()
        function = values.pop(0) if name is None else _name(name)
        self.push(Call(function, tuple(values)))

    def global_on_stack(self):
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise UnpicklingError("it names what is no name")
        self.push(_checked_name(module, name))

    def set_state(self):
        state = self.stack.pop()
        _target(self.stack[-1], Call).state = state

    def extend(self, values):
        target = self.stack[-1]
        (target if isinstance(target, list) else _target(target, Call).values).extend(values)

    def add(self, values):
        _target(self.stack[-1], (Call, Values)).values.extend(values)

    def update(self, flat):
        _target(self.stack[-1], (Call, Pairs)).pairs.extend(_paired(flat))

    def refer(self, identifier):
        self.persistent.append(Persistent(identifier))
        self.push(self.persistent[-1])


def _target(value, kinds):
    if not isinstance(value, kinds):
        raise UnpicklingError(f"it changes a {type(value).__name__}, which cannot be changed")
    return value


def _paired(flat):
    return list(zip(flat[::2], flat[1::2], strict=True))


def _name(argument):
    module, _, name = argument.partition(" ")
    return _checked_name(module, name)


def _checked_name(module, name):
    if len(module) + len(name) > _LONGEST_NAME:
        raise UnpicklingError(f"it has a name of {len(module) + len(name):,} letters")
    return Name(module, name)


def _two_last(machine):
    value = machine.stack.pop()
    return [machine.stack.pop(), value]


_INSTRUCTIONS = {
    "MARK": lambda m, _: m.marks.append(len(m.stack)),
    "NONE": lambda m, _: m.push(None),
    "NEWTRUE": lambda m, _: m.push(True),
    "NEWFALSE": lambda m, _: m.push(False),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "EMPTY_LIST": lambda m, _: m.push([]),
    "EMPTY_DICT": lambda m, _: m.push(Pairs()),
    "EMPTY_SET": lambda m, _: m.push(Values()),
    "TUPLE1": lambda m, _: m.push_tuple(1),
    "TUPLE2": lambda m, _: m.push_tuple(2),
    "TUPLE3": lambda m, _: m.push_tuple(3),
    "TUPLE": lambda m, _: m.push(tuple(m.since_mark())),
    "LIST": lambda m, _: m.push(m.since_mark()),
    "DICT": lambda m, _: m.push(Pairs(m.since_mark())),
    "FROZENSET": lambda m, _: m.push(Values(m.since_mark())),
    "APPEND": lambda m, _: m.extend([m.stack.pop()]),
    "APPENDS": lambda m, _: m.extend(m.since_mark()),
    "ADDITEMS": lambda m, _: m.add(m.since_mark()),
    "SETITEM": lambda m, _: m.update(_two_last(m)),
    "SETITEMS": lambda m, _: m.update(m.since_mark()),
    "POP": lambda m, _: m.pop(),
    "POP_MARK": lambda m, _: m.since_mark(),
    "DUP": lambda m, _: m.push(m.stack[-1]),
    "MEMOIZE": lambda m, _: m.remember(len(m.memo)),
    "GLOBAL": lambda m, name: m.push(_name(name)),
    "STACK_GLOBAL": lambda m, _: m.global_on_stack(),
    "REDUCE": lambda m, _: m.call(),
    "NEWOBJ": lambda m, _: m.call(makes_object=True),
    "NEWOBJ_EX": lambda m, _: m.call_with_options(),
    "INST": lambda m, name: m.call_since_mark(name),
    "OBJ": lambda m, _: m.call_since_mark(),
    "BUILD": lambda m, _: m.set_state(),
    "PERSID": lambda m, identifier: m.refer(identifier),
    "BINPERSID": lambda m, _: m.refer(m.stack.pop()),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), lambda m, place: m.remember(place)),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda m, place: m.push(m.memo[place])),
}
_CONSTANTS = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING",
    "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
    "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
}  # fmt: skip
_NOTHING_TO_DO = {"PROTO", "FRAME", "STOP"}
