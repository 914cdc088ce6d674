"""`tokenize`: every image of a data set into tokens, in shards that are there or not."""

import csv
import io
import json
import time
from pathlib import Path

from keras_regvq.checks.arguments import check_choice, check_integer, refuse
from keras_regvq.data.loading import check_fields
from keras_regvq.data.sources.token_shards import FORMATS, INDEX
from keras_regvq.files.replacing import write_text
from keras_regvq.tokenizing.part_worker import Job, PartWorker
from keras_regvq.tokenizing.parts import digest, open_parts

LEFT_OUT = "left_out.csv"
_LATER = ("num_examples", "examples_per_shard", "set_of_pictures")


def tokenize(
    source,
    preset,
    directory,
    split="train",
    image_size=None,
    fields=("images",),
    num_examples=None,
    examples_per_shard=1000,
    batch_size=32,
    format="parquet",
    workers=None,
    num_cpus=1,
    num_gpus=0,
    address=None,
    verbose=True,
):
    """Tokenize a data set into a folder of shards, for `data.load("tokens:DIRECTORY")`.

    A shard is written beside and renamed, then its summary: a run that was killed, or whose workers
    were, goes on with the shards that are missing, and ends with the same ones. An image that
    cannot be read is left out, and listed in left_out.csv. Memory does not grow with the data set.

    Args:
        source: of `data.load`: "folder:DIR", "webdataset:GLOB", "parquet:GLOB", "scenes" ...
        preset: of an `ImageTokenizer`, for `from_preset`; each worker loads it once.
        directory: where the shards go; made if missing.
        split: "train", "test" or "all".
        image_size: side in pixels, or (height, width); None: the preset's.
        fields: "images", and "captions" and "labels" where they are to be kept beside the tokens.
        num_examples: at most so many; None: all.
        examples_per_shard: of sources that are no shards themselves.
        batch_size: images that are encoded at a time.
        format: of the shards: "parquet" (columns key, tokens, captions, label_map) or "webdataset"
            (KEY.tokens.npy, KEY.txt, KEY.labels.png in tar files).
        workers: processes of Ray Data, on this machine or on a cluster; None: this one alone.
        num_cpus, num_gpus: of each worker.
        address: of a Ray cluster, which must see the same files; None: this machine.
        verbose: whether a progress bar shows.

    Returns:
        dict of "examples", "left_out" and "shards", numbers, and "images_per_second".

    Raises:
        ValueError: for an argument that does not fit, and for a directory of other tokens.
        ImportError: for `workers` without Ray, and for Parquet without pyarrow.

    Example:
        ```python
        fields = ("images", "captions")
        keras_regvq.tokenizing.tokenize(
            "scenes", "regvq_scenes_64", "scene_tokens", num_examples=8, fields=fields
        )
        train = keras_regvq.data.load("tokens:scene_tokens", batch_size=4, fields=fields)
        next(iter(train))["tokens"].shape  # (4, 16, 16)
        ```
    """
    from keras_regvq.files.builtin_presets import locate
    from keras_regvq.models import ImageTokenizer
    from keras_regvq.models.tokenizers.fingerprint import tokens_fingerprint
    from keras_regvq.presets import from_preset

    check_choice("format", format, tuple(FORMATS))
    check_choice("split", split, ("train", "test", "all"))
    if num_examples is not None:
        num_examples = check_integer("num_examples", num_examples, 1)
    examples_per_shard = check_integer("examples_per_shard", examples_per_shard, 1)
    fields, batch_size = check_fields(fields), check_integer("batch_size", batch_size, 1)
    if "images" not in fields:
        refuse("fields", repr(fields), 'some with "images"')
    options = {} if image_size is None else {"image_size": image_size}
    tokenizer = from_preset(preset, **options)
    if not isinstance(tokenizer, ImageTokenizer):
        refuse("preset", f"{preset}, a {type(tokenizer).__name__}", "one of an ImageTokenizer")
    parts = open_parts(
        *(source, split, tokenizer.image_size, fields, tokenizer.image_channels),
        *(num_examples, examples_per_shard),
    )
    facts = {
        "format": format,
        "source": source,
        "split": split,
        "fields": list(fields),
        "preset": str(preset),
        "fingerprint": tokens_fingerprint(tokenizer),
        "codebook_size": tokenizer.codebook_size,
        "grid": list(tokenizer.token_grid),
        "image_size": list(tokenizer.image_size),
        "num_examples": num_examples,
        "examples_per_shard": examples_per_shard,
        "set_of_pictures": digest(parts.names()),
        "parts": len(parts),
    }
    directory = Path(directory).expanduser()
    _open_directory(directory, facts)
    preset = locate(preset)[1]  # workers may run elsewhere, where it is the same folder
    preset = str(Path(preset).resolve()) if Path(preset).is_dir() else preset
    job = Job(
        *(str(directory.resolve()), preset, options, parts, fields, batch_size, format, facts)
    )
    missing = [number for number in range(len(parts)) if not job.is_made(number)]
    start, made = time.perf_counter(), 0
    if workers is None:
        summaries = map(PartWorker(job, tokenizer).make, missing)
    else:
        from keras_regvq.tokenizing.ray_pool import make_on_ray

        summaries = make_on_ray(job, missing, workers, num_cpus, num_gpus, address)
    for summary in _progress(summaries, len(parts), len(missing), verbose):
        made += summary["examples"]
    seconds = time.perf_counter() - start
    numbers = _finish(directory, job, facts)
    return {**numbers, "images_per_second": made / seconds if made else 0.0}


def _open_directory(directory, facts):
    """Make the folder, or make sure that what is in it is of the same tokens."""
    directory.mkdir(parents=True, exist_ok=True)
    index = directory / INDEX
    if index.exists():
        found = _read(index)
        # A folder of version 0.2 does not say the last three.
        unsaid = {name: facts[name] for name in _LATER} if "format" in found else {}
        found = {**unsaid, **found}
        other = [name for name, value in facts.items() if found.get(name) != value]
        if other:
            received = f"{directory}, whose tokens are of another {' and '.join(other)}"
            refuse("directory", received, "another one, or this one emptied")
    elif any(directory.iterdir()):
        refuse("directory", f"{directory}, which holds something else", "an empty folder")
    else:
        write_text(index, json.dumps({**facts, "complete": False, "shards": []}, indent=1))


def _read(path):
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {}


def _finish(directory, job, facts):
    """Say in the index that all shards are there, and write the list of what was left out."""
    summaries = [_read(job.summary_path(number)) for number in range(facts["parts"])]
    numbers = {
        "examples": sum(summary["examples"] for summary in summaries),
        "left_out": sum(len(summary["left_out"]) for summary in summaries),
        "shards": len(summaries),
    }
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["shard", "name", "reason"])
    for summary in summaries:
        writer.writerows([summary["shard"], *row] for row in summary["left_out"])
    write_text(directory / LEFT_OUT, table.getvalue())
    index = {**facts, **numbers, "shards": [s["shard"] for s in summaries], "complete": True}
    write_text(directory / INDEX, json.dumps(index, indent=1))
    return numbers


def _progress(summaries, total, missing, verbose):
    """Yield them, with Keras's progress bar in between."""
    if not verbose:
        yield from summaries
        return
    import keras

    bar, examples = keras.utils.Progbar(total, unit_name="shard"), 0
    for done, summary in enumerate(summaries, total - missing + 1):
        yield summary
        examples += summary["examples"]
        bar.update(done, [], finalize=done == total)
