"""Kinds of command line options, for `type=`: argparse says which option has a wrong value."""

import argparse
import math


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
