"""Options of the recipes that train a prior, from the command line and a config."""

import tomllib
from pathlib import Path

from shared.options import adding_to, command_parser
from shared.run_folder import HELP, add_options


class Options:
    """An argument parser whose defaults a TOML file can change.

    Args:
        description: the recipe's docstring.
        output: default of --output.
    """

    def __init__(self, description, output):
        self.parser = command_parser(description + HELP)
        self.parser.add_argument("--config", type=Path, help="TOML file of the options below")
        self.output = output

    def group(self, name):
        """A function add(name, default, help, **kwargs) that adds options to a group."""
        return adding_to(self.parser.add_argument_group(name))

    def add_training(self, **defaults):
        """The options of every training; keyword arguments change their defaults."""
        add = self.group("training")
        for name, default, help in (
            ("steps", 3000, "training steps"),
            ("epoch-steps", 100, "steps between reports and backups"),
            ("batch-size", 16, "images a step"),
            ("test-examples", 256, "held-out images that are measured after each report"),
            ("learning-rate", 5e-4, "AdamW's, after a warm-up, decayed by a cosine"),
            ("weight-decay", 0.01, "AdamW's, of the matrices"),
            ("ema", 0.0, "decay of the averaged weights that are kept; 0 for none"),
        ):
            add(f"--{name}", defaults.get(name.replace("-", "_"), default), help)
        precisions = ("float32", "mixed_bfloat16", "mixed_float16")
        add("--precision", "float32", "dtype policy", choices=precisions)
        dtypes = ("float32", "float16")
        add("--preset-dtype", "float32", "of the preset's weights", choices=dtypes)
        add("--seed", 0, "random seed")
        add("--output", Path(self.output), "directory", type=Path)
        add_options(add)

    def parse(self, arguments):
        """What the command line says goes before what the config says."""
        config = self.parser.parse_known_args(arguments)[0].config
        if config is not None:
            values = {k.replace("-", "_"): v for k, v in tomllib.loads(config.read_text()).items()}
            unknown = set(values) - set(vars(self.parser.parse_args([])))
            if unknown:
                self.parser.error(f"{config} has unknown options: {', '.join(sorted(unknown))}")
            self.parser.set_defaults(**values)
        return self.parser.parse_args(arguments)
