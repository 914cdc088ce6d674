"""Every caption of a data set, where `load` draws one an image."""

import itertools
import json

from keras_regvq.checks.arguments import check_size
from keras_regvq.data.loading import STREAMED, open_examples, open_stream, parse_source
from keras_regvq.data.sources.tfds import open_undrawn


def every_caption(source, split="train", image_size=64, num_examples=None):
    """All captions of the examples that `load` would give for the same arguments.

    Args:
        source, split, image_size, num_examples: as in `load`; of images that are too small for
            `image_size` there are no captions either, but of shards, whose images are not read.

    Returns:
        list of strings.

    Raises:
        ValueError, ImportError: see `load`.
    """
    kind, location = parse_source(source)
    size, fields = check_size("image_size", image_size), ("captions",)
    if kind in STREAMED:
        stream = open_stream(kind, location, split, size)
        records = (record for shard in stream.shards for record in stream.records(shard))
        captions = (json.loads(record[-1]) for record in itertools.islice(records, num_examples))
        return [text for texts in captions for text in texts]
    if kind == "tfds":
        dataset, select, _ = open_undrawn(location, split, size, fields, num_examples)
        examples = dataset.map(select).as_numpy_iterator()
        return [text.decode() for example in examples for text in example["captions"]]
    examples = open_examples(kind, location, split, size, fields, num_examples)
    read = (examples.read(number, fields) for number in range(len(examples)))
    return [text for example in read for text in example["captions"]]
