"""What PyTorch's pickles stand for: tensors and plain data, by a short list of names.

Of the objects of training frameworks and of a project's own classes, which whole checkpoints hold
besides, empty shells are made. Any other name is an error.
"""

from pickle import UnpicklingError

from keras_regvq.files import numpy_values
from keras_regvq.files.inert_pickle import Call, Name, Pairs, Persistent, Values
from keras_regvq.files.pickled_names import PYTHON_2, Shell, check_shell
from keras_regvq.files.torch_tensors import find_storage

_MOST_ARGUMENTS = 16
_PLAIN = (str, int, float, bool, type(None), bytes, bytearray)


def plain_values(tree, tensors, budget):
    """Turn what `read_pickle` gives into dicts, lists, arrays and shells.

    Args:
        tree: the description of a value.
        tensors: a `Tensors`.
        budget: a `Budget` for what is copied.

    Raises:
        UnpicklingError, or another exception, if it is damaged or names anything else.
    """
    return _Values(tensors, budget).of(tree)


class _Values:
    def __init__(self, tensors, budget):
        self.tensors, self.budget, self.known = tensors, budget, {}

    def of(self, node):
        if isinstance(node, _PLAIN):
            return node
        if id(node) not in self.known:  # the node is kept, so that its id stays its own
            self.known[id(node)] = node, Shell("a container that holds itself")
            self.known[id(node)] = node, self._make(node)
        return self.known[id(node)][1]

    def _make(self, node):
        if type(node) is list:
            return [self.of(value) for value in node]
        if type(node) is tuple:
            return tuple([self.of(value) for value in node])
        if isinstance(node, Pairs):
            return self.dict_of(node.pairs)
        if isinstance(node, Values):
            return {self.key(value) for value in node.values}
        if isinstance(node, Persistent):
            return find_storage(node.identifier)
        if isinstance(node, Name):
            check_shell(node, False, _MAKERS)
            return Shell(node)
        return self._call(node)

    def dict_of(self, pairs):
        return {self.key(key): self.of(value) for key, value in pairs}

    def key(self, node):
        """A plain key; anything else, whose hash could take forever, is a shell of its own."""
        if isinstance(node, (str, bytes, bool, float)) or node is None:
            return node
        if isinstance(node, int) and abs(node) < 2**60:
            return node
        return Shell("a key")

    def _call(self, call):
        module, name = call.function
        function = Name(PYTHON_2.get(module, module), name)
        make = _MAKERS.get(function)
        if make is None and function.module.startswith(("numpy.core.", "numpy._core.")):
            make = _NUMPY_MAKERS.get((function.module.rpartition(".")[2], name))
        if make is None and function.module == "numpy.dtypes":
            make = _named_dtype
        if make is not None:
            return make(self, call)
        check_shell(function, not call.makes_object, _MAKERS)
        return Shell(function)

    def arguments(self, call, least):
        """The call's arguments, which must be `least` or more."""
        if not least <= len(call.arguments) <= _MOST_ARGUMENTS:
            received = f"{len(call.arguments)} arguments"
            raise UnpicklingError(f"it calls {call.function} with {received}")
        return [self.of(argument) for argument in call.arguments]

    def items(self, call):
        """What a container is made of: its first argument, a list or the like, and what follows."""
        given = call.arguments[0] if call.arguments else []
        given = given.values if isinstance(given, Values) else given
        if not isinstance(given, (list, tuple)):
            raise UnpicklingError(f"it makes a {call.function} of a {type(given).__name__}")
        self.budget.take(8 * len(given), f"a {call.function}")
        return [*given, *call.values]


def _mapping(values, call):
    first = call.arguments[0] if call.arguments else None
    if isinstance(first, Pairs):
        given = first.pairs
    elif isinstance(first, list):
        given = first
    else:
        given = []  # also of a defaultdict, whose first argument makes its values
    values.budget.take(8 * len(given), f"a {call.function}")
    return values.dict_of([*given, *call.pairs])


def _set(values, call):
    return {values.key(value) for value in values.items(call)}


def _list(values, call):
    return [values.of(value) for value in values.items(call)]


def _tuple(values, call):
    return tuple(_list(values, call))


def _tensor(values, call):
    storage, offset, size, stride, *rest = values.arguments(call, 4)
    if len(rest) > 2 and rest[2]:  # such as conjugated, or negated
        raise UnpicklingError("it has a tensor that is to be changed when it is read")
    return values.tensors.rebuild(storage, offset, size, stride)


def _typed_tensor(values, call):
    storage, offset, size, stride, _, _, dtype, *_ = [*call.arguments, *[None] * 7][:8]
    parts = [values.of(part) for part in (storage, offset, size, stride)]
    return values.tensors.rebuild(*parts, dtype)


def _first(values, call):
    return values.arguments(call, 1)[0]


def _of_subclass(values, call):
    """_rebuild_from_type_v2(function, type, arguments, state): the tensor, without its class."""
    if len(call.arguments) < 3:
        raise UnpicklingError("it has a tensor of a class without its data")
    return values.of(Call(call.arguments[0], call.arguments[2]))


def _bytes(values, call):
    text, coding, *_ = [*values.arguments(call, 1), "latin1"]
    if not isinstance(text, str) or coding not in ("latin1", "latin-1"):
        raise UnpicklingError("it encodes text in another way than NumPy's")
    values.budget.take(len(text), "bytes")
    return text.encode("latin-1")


def _dtype(values, call):
    code, *_ = values.arguments(call, 1)
    return numpy_values.dtype(code, values.of(call.state)) or Shell("a dtype")


def _named_dtype(values, call):
    return numpy_values.dtype(call.function.name) or Shell("a dtype")


def _scalar(values, call):
    kind, data, *_ = [*values.arguments(call, 1), b""]
    if isinstance(kind, Shell):
        return Shell("a scalar")
    return numpy_values.scalar(kind, data)


def _array(values, call):
    """_reconstruct(ndarray, (0,), b"b"), whose state has all."""
    state = values.of(call.state)
    if not isinstance(state, tuple) or len(state) != 5:
        raise UnpicklingError("it has an array without its data")
    _, shape, kind, fortran, data = state
    return _array_of(values, shape, kind, fortran, data)


def _array_of_buffer(values, call):
    """_frombuffer(bytes, dtype, shape, order), as protocol 5 has it."""
    data, kind, shape, order, *_ = values.arguments(call, 4)
    return _array_of(values, shape, kind, order == "F", data)


def _array_of(values, shape, kind, fortran, data):
    if isinstance(kind, Shell):  # of objects, or of text
        return Shell("an array")
    numpy_values.check_data(data)
    values.budget.take(len(data), "an array")
    return numpy_values.array(shape, kind, fortran, data)


def _shell_of_class(values, call):
    """copyreg._reconstructor(class, object, None), as protocols 0 and 1 make an object."""
    if not call.arguments or not isinstance(call.arguments[0], Name):
        raise UnpicklingError("it makes an object of no class")
    check_shell(call.arguments[0], False, _MAKERS)
    return Shell(call.arguments[0])


_MAKERS = {
    Name("builtins", "dict"): _mapping,
    Name("builtins", "list"): _list,
    Name("builtins", "tuple"): _tuple,
    Name("builtins", "set"): _set,
    Name("builtins", "frozenset"): _set,
    Name("collections", "OrderedDict"): _mapping,
    Name("collections", "defaultdict"): _mapping,
    Name("copyreg", "_reconstructor"): _shell_of_class,
    Name("_codecs", "encode"): _bytes,
    Name("numpy", "dtype"): _dtype,
    Name("torch", "Size"): _tuple,
    Name("torch._utils", "_rebuild_tensor"): _tensor,
    Name("torch._utils", "_rebuild_tensor_v2"): _tensor,
    Name("torch._utils", "_rebuild_tensor_v3"): _typed_tensor,
    Name("torch._utils", "_rebuild_parameter"): _first,
    Name("torch._utils", "_rebuild_parameter_with_state"): _first,
    Name("torch._tensor", "_rebuild_from_type_v2"): _of_subclass,
}
_NUMPY_MAKERS = {
    ("multiarray", "scalar"): _scalar,
    ("multiarray", "_reconstruct"): _array,
    ("numeric", "_frombuffer"): _array_of_buffer,
}
