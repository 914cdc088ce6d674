"""JSON and YAML of other projects: small files of plain values."""

import json

import yaml

from keras_regvq.files.reading import read_regular, reading

_LARGEST_JSON = 2**24  # bytes: an index of a million tensors
_LARGEST_YAML = 2**18
_MOST_VALUES = 100_000  # of a YAML file, each repetition of an alias counted


def read_json(path, argument="path"):
    """Read a JSON object.

    Args:
        path: the file.
        argument: the argument that named it, for errors.

    Returns:
        dict.

    Raises:
        ValueError: naming the file, if it is no JSON object, or cannot be read.
    """
    with reading(path, "a file with a JSON object", argument):
        value = json.loads(read_regular(path, _LARGEST_JSON).decode())
        if not isinstance(value, dict):
            raise TypeError(f"it holds a {type(value).__name__}")
        return value


def read_yaml(path, argument="path", expected="a file with a YAML mapping"):
    """Read a YAML mapping of plain values, without executing anything.

    Aliases that repeat each other make gigabytes of a few lines: what they stand for is counted
    before it is built.

    Args:
        path: the file.
        argument, expected: the argument that named it, and what it should be, for errors.

    Returns:
        dict.

    Raises:
        ValueError: naming the file, if it is no YAML mapping, or cannot be read.
    """
    with reading(path, expected, argument):
        loader = yaml.SafeLoader(read_regular(path, _LARGEST_YAML).decode())
        try:
            root = loader.get_single_node()
            _count_values(root, {})
            value = None if root is None else loader.construct_document(root)
        finally:
            loader.dispose()
        if not isinstance(value, dict):
            raise TypeError(f"it holds a {type(value).__name__}")
        return value


def _count_values(node, counted):
    """How many values a node stands for, all aliases written out."""
    if id(node) not in counted:
        counted[id(node)] = float("inf")  # what a node that holds itself stands for
        children = []
        if isinstance(node, yaml.SequenceNode):
            children = node.value
        elif isinstance(node, yaml.MappingNode):
            children = [part for pair in node.value for part in pair]
        counted[id(node)] = 1 + sum(_count_values(child, counted) for child in children)
    if counted[id(node)] > _MOST_VALUES:
        raise ValueError(f"it stands for more than {_MOST_VALUES:,} values")
    return counted[id(node)]
