"""TensorFlow Datasets: a prepared data set, its splits, and ranges of these."""

from keras_regvq.checks.arguments import refuse


def open_builder(name, data_dir, download):
    """The builder of a data set that is prepared, or is prepared now."""
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise ImportError(
            'A "tfds:" source needs tensorflow-datasets: pip install "keras_regvq[tfds]".'
        ) from error
    try:
        builder = tensorflow_datasets.builder(name, data_dir=data_dir)
    except (tensorflow_datasets.core.registered.DatasetNotFoundError, ValueError) as error:
        message = str(error).strip().splitlines()[0]
        refuse("source", f'"tfds:{name}" ({message})', "the name of a TensorFlow dataset")
    if download:
        try:
            builder.download_and_prepare()
        except (OSError, tensorflow_datasets.core.download.util.DownloadError) as error:
            reason = str(error).strip().splitlines()[:1]
            received = f'"tfds:{name}", which cannot be fetched ({"".join(reason)[:200]})'
            refuse("source", received, "a network connection, or download=False and a data_dir")
    if not builder.is_prepared():
        received = f'"tfds:{name}" with download=False, not prepared in {builder.data_path}'
        refuse("source", received, "a prepared dataset, its data_dir, or download=True")
    return builder


def split_name(builder, name, split, splits):
    """What TFDS calls a split of `load`."""
    if not isinstance(splits, dict) or not set(splits) <= {"train", "test", "all"}:
        refuse("splits", repr(splits), 'a dict of split names for "train", "test" and "all"')
    if split in splits:
        return splits[split]
    available = list(builder.info.splits)
    if split == "all":
        return "+".join(available)
    if "train" not in available:
        refuse("splits", f"nothing for {split!r}; {name} has {available}", "a dict that says which")
    if "test" in available or "validation" in available:
        test = "test" if "test" in available else "validation"
        return {"train": "train", "test": test}[split]
    return {"train": "train[:90%]", "test": "train[90%:]"}[split]


def range_of_split(builder, split, wanted):
    """What `as_dataset(split=...)` takes for some examples of a split, in its order.

    Args:
        builder: a prepared TFDS builder.
        split: a text such as "train", "train[:90%]" or "train+test".
        wanted: a `range` of examples, from one before the split's end.
    """
    import tensorflow_datasets

    splits = builder.info.splits
    instruction, place, found = tensorflow_datasets.core.ReadInstruction, 0, None
    for name in split.split("+"):
        whole = instruction.from_spec(name)
        (part,) = whole.to_absolute(splits)
        start, stop = (
            part.from_ or 0,
            splits[part.splitname].num_examples if part.to is None else part.to,
        )
        first, last = (
            min(max(at - place + start, start), stop) for at in (wanted.start, wanted.stop)
        )
        place += stop - start
        if first < last:
            own = instruction(part.splitname, from_=first, to=last, unit="abs")
            found = own if found is None else found + own
    return found
