"""A data set of TensorFlow Datasets in parts."""

from keras_regvq.data.sources.tfds import open_undrawn


class TfdsParts:
    """Ranges of examples, which are read from where they start.

    Args:
        name: of the data set, prepared on every machine that reads it.
        split, size, fields, channels: as `data.load` takes them.
        num_examples: at most so many, or None.
        examples_per_part: in each.
    """

    def __init__(self, name, split, size, fields, channels, num_examples, examples_per_part):
        self._arguments = (name, split, size, fields, num_examples, channels)
        self._name, self._step, self.size = name, examples_per_part, size
        self._count = open_undrawn(*self._arguments)[2]

    def __len__(self):
        return -(-self._count // self._step)

    def names(self):
        return [f"{self._name} {self._count}"]

    def read(self, number):
        start = number * self._step
        part = range(start, min(start + self._step, self._count))
        examples, select, _ = open_undrawn(*self._arguments, part=part)
        for index, features in zip(part, examples, strict=True):
            yield f"{self._name}/{index:08}", lambda features=features: _decoded(select, features)


def _decoded(select, features):
    try:
        example = {name: value.numpy() for name, value in select(features).items()}
    except Exception as error:  # TensorFlow's own, of a picture that is broken
        raise ValueError(str(error).splitlines()[0]) from error
    if "captions" in example:
        example["captions"] = tuple(text.decode() for text in example["captions"])
    return example
