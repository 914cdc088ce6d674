"""Data sets of which a process has its own part: known as such, whatever is made of them."""

_PART = "keras_regvq: a part of each batch"


def marked_as_part(dataset):
    """A tf.data set that is known, with all that is made of it, to hold one process's parts."""
    import tensorflow as tf

    options = tf.data.Options()
    options.framework_type = [_PART]  # what made a data set: the one text that comes along
    return dataset.with_options(options)


def is_marked_as_part(dataset):
    return _PART in (dataset.options().framework_type or ())
