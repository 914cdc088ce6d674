"""Options of the recipes that train a prior, from the command line and a config."""

import argparse
import sys
import tomllib
from pathlib import Path

from shared.devices import add_distribute_option
from shared.options import command_parser, option
from shared.run_folder import HELP, add_options


class _Parser(argparse.ArgumentParser):
    """Says in its errors where the options are from."""

    origin = ""

    def error(self, message):
        super().error(self.origin + message)


class Options:
    """An argument parser whose defaults a TOML file, in UTF-8, can change.

    Args:
        description: the recipe's docstring.
        output: default of --output.
    """

    def __init__(self, description, output):
        self.parser = command_parser(description + HELP, _Parser)
        self.parser.add_argument("--config", type=Path, help="TOML file of the options below")
        self.output, self.actions = output, {}

    def group(self, name):
        """A function add(name, default, help, **kwargs) that adds options to a group."""
        group = self.parser.add_argument_group(name)

        def add(*args, **kwargs):
            action = option(group, *args, **kwargs)
            self.actions[action.dest] = action

        return add

    def add_training(self, **defaults):
        """The options of every training; keyword arguments change their defaults."""
        add = self.group("training")
        for name, default, help in (
            ("steps", 3000, "training steps"),
            ("epoch-steps", 100, "steps between reports and backups"),
            ("batch-size", 16, "images a step"),
            ("test-examples", 256, "held-out images that are measured after each report"),
            ("learning-rate", 5e-4, "after a warm-up, decayed by a cosine; of muon about 0.01"),
            ("weight-decay", 0.01, "of the weights"),
            ("ema", 0.0, "decay of the averaged weights that are kept; 0 for none"),
        ):
            add(f"--{name}", defaults.get(name.replace("-", "_"), default), help)
        add("--optimizer", "adamw", "muon is for the matrices inside", choices=("adamw", "muon"))
        precisions = ("float32", "mixed_bfloat16", "mixed_float16")
        add("--precision", "float32", "dtype policy", choices=precisions)
        dtypes = ("float32", "float16")
        add("--preset-dtype", "float32", "of the preset's weights", choices=dtypes)
        add_distribute_option(add)
        add("--seed", 0, "random seed")
        add("--output", Path(self.output), "directory", type=Path)
        add_options(add)

    def parse(self, arguments):
        """What the command line says goes before what the config says."""
        arguments = sys.argv[1:] if arguments is None else list(arguments)
        config = self.parser.parse_known_args(arguments)[0].config
        if config is None:
            return self.parser.parse_args(arguments)
        self.parser.origin = f"{config}: "
        given = [text for item in self._read(config).items() for text in self._as_arguments(*item)]
        self.parser.parse_args(given)  # alone first, for an error to name the file
        self.parser.origin = ""
        return self.parser.parse_args(given + arguments)

    def _read(self, config):
        """What a config says, by option."""
        try:
            found = tomllib.loads(config.read_bytes().decode("utf-8-sig"))
        except (OSError, ValueError, RecursionError) as error:
            self.parser.error(str(error))
        values = {name.replace("-", "_"): value for name, value in found.items()}
        unknown = set(values) - set(self.actions)
        if unknown:
            self.parser.error(f"it has unknown options: {', '.join(sorted(unknown))}")
        return values

    def _as_arguments(self, name, value):
        """What stands on the command line for a config's value: both are checked alike."""
        option, values = self.actions[name].option_strings[0], [value]
        if self.actions[name].nargs == 0:  # a switch
            if not isinstance(value, bool):
                self.parser.error(f"argument {option}: {value!r} is neither true nor false")
            return [option] if value else []
        if self.actions[name].nargs is not None and isinstance(value, list):
            values = value
        for one in values:
            if isinstance(one, bool) or not isinstance(one, (str, int, float)):
                self.parser.error(f"argument {option}: {value!r} is no value for it")
        # A text that begins with "-" is a value only behind "=".
        return [f"{option}={value}"] if values == [value] else [option, *map(str, values)]
