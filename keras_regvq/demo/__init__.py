"""A page to draw on, served on this machine: `python -m keras_regvq demo`."""
