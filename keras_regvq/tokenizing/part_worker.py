"""What a process does: it loads the tokenizer once, and makes a shard of each part it is given."""

import json
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_regvq.files.replacing import write_text
from keras_regvq.tokenizing.shards import check_labels, shard_name, write_shard


@dataclass(frozen=True)
class Job:
    """What all shards of a folder have in common.

    Args:
        directory: where shards are written.
        preset, preset_options: of the tokenizer, for `keras_regvq.from_preset`.
        parts: of `parts.open_parts`.
        fields: "images", and "labels" and "captions" if they are kept.
        batch_size: images that are encoded at a time.
        format: of the shards.
        facts: dict that is kept with them.
        threads: that decode pictures.
    """

    directory: str
    preset: str
    preset_options: dict
    parts: object
    fields: tuple
    batch_size: int
    format: str
    facts: dict
    threads: int = 2

    def summary_path(self, number):
        """Of the file that says that a shard is there: written when the shard has been."""
        return Path(self.directory) / f"shard-{number:06}.json"

    def is_made(self, number):
        shard = Path(self.directory) / shard_name(number, self.format)
        return self.summary_path(number).exists() and shard.exists()


class PartWorker:
    """A loaded tokenizer that makes shards: one a process.

    Args:
        job: `Job`.
        tokenizer: its tokenizer if it is loaded already.
    """

    def __init__(self, job, tokenizer=None):
        if tokenizer is None:
            from keras_regvq.presets import from_preset

            tokenizer = from_preset(job.preset, **job.preset_options)
        self.job, self.tokenizer = job, tokenizer

    def make(self, number):
        """Write the shard of a part, and its summary; what is there is replaced.

        Returns:
            dict of "shard", the file's name, "examples", their number, and "left_out", a list of
            (name, reason).
        """
        job, rows, left_out = self.job, [], []
        for examples in self._batches(number, left_out):
            images = np.stack([example["images"] for _, example in examples])
            tokens = self.tokenizer.encode(images, job.batch_size)
            for (key, example), grid in zip(examples, tokens, strict=True):
                kept = {name: example[name] for name in job.fields if name != "images"}
                rows.append({"key": key, "tokens": np.asarray(grid), **kept})
        name = shard_name(number, job.format)
        write_shard(Path(job.directory) / name, rows, job.fields, job.facts, job.format)
        summary = {"shard": name, "examples": len(rows), "left_out": left_out}
        write_text(job.summary_path(number), json.dumps(summary))
        return summary

    def _batches(self, number, left_out):
        """Lists of (key, example): threads decode the next one while one is encoded."""
        waiting, ready, last = deque(), [], self.job.batch_size
        with ThreadPoolExecutor(self.job.threads) as pool:
            for key, decode in self.job.parts.read(number):
                waiting.append((key, pool.submit(decode)))
                if len(waiting) > 2 * last:
                    ready += _decoded(waiting.popleft(), left_out)
                if len(ready) == last:
                    yield ready
                    ready = []
            while waiting:
                ready += _decoded(waiting.popleft(), left_out)
                if len(ready) == last:
                    yield ready
                    ready = []
        if ready:
            yield ready


def _decoded(item, left_out):
    """A list of the example, or of nothing."""
    key, future = item
    try:
        example = future.result()
        if "labels" in example:
            check_labels(example["labels"])
        return [(key, example)]
    except Exception as error:  # whatever a decoder raises on a broken file
        left_out.append((key, " ".join(str(error).split())))
        return []
