"""Where the one rule of reading presets is found by those who may not import it.

A model's class method `from_preset` reads all that `keras_regvq.presets` reads; but presets are
built of models, not models of presets. So the package's root, which knows both, says here how a
preset is read. Free of imports: `import keras_regvq` sets it.
"""

_reader = None


def set_preset_reader(reader):
    """Say what `read_preset` calls."""
    global _reader
    _reader = reader


def read_preset(cls, preset, load_weights, custom_objects, overrides):
    """The model of a preset, which must be an instance of `cls`: `presets.reading.read_preset`."""
    return _reader(cls, preset, load_weights, custom_objects, overrides)
