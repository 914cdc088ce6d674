"""Command line options: parsers, how an option is added, and its kinds.

Argparse says which option has a wrong value.
"""

import argparse
import functools
import math


def command_parser(description, kind=argparse.ArgumentParser):
    """The parser, of a class, of a command that `description`, its docstring, explains."""
    return kind(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def option(group, name, default, help, **kwargs):
    """Add an option to a parser or a group of it; returns argparse's action.

    It has its default's type, if no other is given, and --help says the default. Numbers are at
    least 0, integers whose default is not 0 at least 1, and --seed is one that all backends take.
    """
    if "action" not in kwargs:
        kwargs.setdefault("type", _kind(name, default))
    return group.add_argument(name, default=default, help=f"{help} [{default}]", **kwargs)


def _kind(name, default):
    if name == "--seed":
        return integer(0, 2**31 - 1)
    if type(default) is int:
        return integer(min(default, 1))
    return number(0) if type(default) is float else type(default)


def adding_to(group):
    """`option` of one parser or group."""
    return functools.partial(option, group)


def integer(least, most=math.inf):
    """A kind of option: integers from `least` to `most`."""

    def parse(text):
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not an integer {_range(least, most)}")
        return value

    return parse


def number(least, most=math.inf):
    """A kind of option: numbers from `least` to `most`."""

    def parse(text):
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most or math.isinf(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not a number {_range(least, most)}")
        return value

    return parse


def above_zero(text):
    """A kind of option: numbers above 0."""
    value = number(0)(text)
    if value == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0")
    return value


def _range(least, most):
    return f"from {least} to {most}" if most < math.inf else f"of at least {least}"
