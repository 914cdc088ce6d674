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

    It has its default's type, if no other is given, and --help says the default.
    """
    if "action" not in kwargs:
        kwargs.setdefault("type", type(default))
    return group.add_argument(name, default=default, help=f"{help} [{default}]", **kwargs)


def adding_to(group):
    """`option` of one parser or group."""
    return functools.partial(option, group)


def integer(least):
    """A kind of option: integers of at least `least`."""

    def parse(text):
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not an integer of at least {least}")
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
            allowed = f"from {least} to {most}" if most < math.inf else f"of at least {least}"
            raise argparse.ArgumentTypeError(f"{text!r} is not a number {allowed}")
        return value

    return parse
