"""Read damaged and hostile HDF5 files through every reader of the package.

python -m benchmarks.robustness.fuzz_hdf5 --count 500
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

import h5py
import keras_hub
import numpy as np

import keras_regvq
from benchmarks.robustness import tiny_presets
from benchmarks.robustness.fuzzing import fuzz, report
from keras_regvq import models

LAYERS = ("block1_conv1", "block1_conv2")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--first", type=int, default=0)
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        originals = make_originals(folder / "originals")
        (folder / "cases").mkdir()
        (folder / "outside.bin").write_bytes(bytes(10**6))

        def case(number):
            return make_case(originals, folder, number)

        return report(*fuzz(case, read, args.count, args.first))


def make_originals(folder):
    """A whole file or folder for each reader, in the order of `READERS`."""
    tokenizer = tiny_presets.tokenizer()
    tokenizer.save_to_preset(folder / "preset")
    shutil.copytree(folder / "preset", folder / "shards")
    split_weights(folder / "shards")
    network = keras_hub.models.VGGBackbone([2], [64])
    network.save_to_preset(folder / "hub")
    network.save_weights(folder / "vgg.weights.h5")
    with h5py.File(folder / "vgg.h5", "w") as file:  # as Keras 2 wrote them
        for name in LAYERS:
            group, weights = file.create_group(name), network.get_layer(name).get_weights()
            names = [f"{name}/kernel:0", f"{name}/bias:0"]
            group.attrs["weight_names"] = [part.encode() for part in names]
            for part, values in zip(names, weights, strict=True):
                group[part] = values
    return [folder / name for name in ("preset", "shards", "hub", "vgg.weights.h5", "vgg.h5")]


def split_weights(preset):
    """Put a preset's weights into two shards, as KerasHub does it with large ones."""
    whole, names = preset / "model.weights.h5", []
    with h5py.File(whole) as source:
        source.visititems(
            lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
        )
        weight_map = {}
        for index, part in enumerate((names[::2], names[1::2])):
            shard = f"model_{index:05}.weights.h5"
            with h5py.File(preset / shard, "w") as target:
                for name in part:
                    target[name] = source[name][()]
                    weight_map.setdefault("/" + name.rpartition("/")[0], []).append(shard)
    whole.unlink()
    text = json.dumps({"metadata": {"total_size": 0}, "weight_map": weight_map})
    (preset / "model.weights.json").write_text(text)


def read(path):
    """Read a case by the reader that its name asks for."""
    if path.name.endswith(".h5"):
        options = {"preprocessing": "imagenet"} if path.name.endswith(".weights.h5") else {}
        models.VGG19Features(path, layer_names=LAYERS, **options)
    elif path.name.endswith("hub"):
        models.VGG19Features(path, layer_names=LAYERS)
    else:
        keras_regvq.from_preset(path)


def make_case(originals, folder, number):
    """A changed copy of one of the originals; a number always gives the same."""
    chance = random.Random(number)
    original = originals[number % len(originals)]
    path = folder / "cases" / f"case_{number}_{original.name}"
    if original.is_dir():
        shutil.copytree(original, path, dirs_exist_ok=True)
        file = chance.choice(sorted(path.glob("*.h5")))
    else:
        file = Path(shutil.copy(original, path))
    if chance.random() < 0.5:
        file.write_bytes(damage(file.read_bytes(), chance))
    else:
        change(file, chance, folder / "outside.bin")
    return path


def damage(data, chance):
    """Bytes of which some are changed, mostly where HDF5 keeps its structures."""
    data, kind = bytearray(data), chance.randrange(4)
    if kind == 0:
        return bytes(data[: chance.randrange(len(data))])
    if kind == 1:
        return os.urandom(chance.randrange(5000))
    marks = (b"TREE", b"HEAP", b"SNOD", b"GCOL", b"OHDR", b"\x89HDF")
    places = [at for mark in marks for at in positions(data, mark)] or [0]
    for _ in range(chance.choice((1, 2, 8, 30))):
        at = (
            chance.choice(places) + chance.randrange(200)
            if kind == 2
            else chance.randrange(len(data))
        )
        if at < len(data):
            data[at] = chance.choice((0, 1, 255, 127, 128, chance.randrange(256)))
    return bytes(data)


def positions(data, mark):
    at = data.find(mark)
    while at >= 0:
        yield at
        at = data.find(mark, at + 1)


def change(file, chance, outside):
    """Put something into a whole file that does not belong there."""
    with h5py.File(file, "r+") as weights:
        names = []
        weights.visititems(
            lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
        )
        name = chance.choice(names)
        values = weights[name][()]
        kinds = [kind for kind in CHANGES if kind != "object" or values.ndim]
        CHANGES[chance.choice(kinds)](weights, name, np.atleast_1d(values), str(outside))


def _replace(**options):
    def change(weights, name, values, outside):
        del weights[name]
        made = {key: value(values) for key, value in options.items()}
        weights.create_dataset(name, **made)

    return change


def _link(link):
    def change(weights, name, values, outside):
        del weights[name]
        weights[name] = link(outside)

    return change


def _virtual(weights, name, values, outside):
    del weights[name]
    layout = h5py.VirtualLayout(shape=values.shape, dtype="f4")
    layout[:] = h5py.VirtualSource(outside, "x", shape=values.shape)
    weights.create_virtual_dataset(name, layout)


def _cycle(weights, name, values, outside):
    weights[name].parent["again"] = weights["/"]


def _deep(weights, name, values, outside):
    group = weights
    for _ in range(500):
        group = group.create_group("d")


def _not_finite(weights, name, values, outside):
    values = values.astype("float32")
    values.flat[0] = np.nan
    weights[name][...] = values.reshape(weights[name].shape)


HUGE = (2**20, 2**14)
CHANGES = {
    "bomb": _replace(
        shape=lambda v: HUGE, dtype=lambda v: "f4", compression=lambda v: "gzip",
        chunks=lambda v: (2**10, 2**10),
    ),
    "bomb of the right shape": _replace(
        shape=lambda v: v.shape, dtype=lambda v: "f4", compression=lambda v: "gzip"
    ),
    "not there": _replace(shape=lambda v: HUGE, dtype=lambda v: "f4"),
    "not there, of the right shape": _replace(shape=lambda v: v.shape, dtype=lambda v: "f4"),
    "outside": _replace(
        shape=lambda v: v.shape, dtype=lambda v: "f4",
        external=lambda v: [("../outside.bin", 0, h5py.h5f.UNLIMITED)],
    ),
    "scaled": _replace(data=lambda v: v, scaleoffset=lambda v: 3),
    "strings": _replace(data=lambda v: np.array(["x" * 50] * 3, "S50")),
    "vlen": _replace(shape=lambda v: (3,), dtype=lambda v: h5py.vlen_dtype("f4")),
    "object": _replace(data=lambda v: ["a", "b"], dtype=lambda v: h5py.string_dtype()),
    "references": _replace(shape=lambda v: (3,), dtype=lambda v: h5py.ref_dtype),
    "records": _replace(shape=lambda v: (3,), dtype=lambda v: [("a", "f4"), ("b", "i8")]),
    "complex": _replace(data=lambda v: v.astype("complex64")),
    "double": _replace(data=lambda v: v.astype("float64")),
    "half": _replace(data=lambda v: v.astype("float16")),
    "integers": _replace(data=lambda v: v.astype("int64")),
    "nothing": _replace(data=lambda v: h5py.Empty("f4")),
    "shape": _replace(data=lambda v: np.concatenate([v, v])),
    "flat": _replace(data=lambda v: v.ravel()),
    "packed": _replace(data=lambda v: v, compression=lambda v: "gzip", shuffle=lambda v: True),
    "soft link": _link(lambda outside: h5py.SoftLink("/layers")),
    "dangling link": _link(lambda outside: h5py.SoftLink("/none")),
    "external link": _link(lambda outside: h5py.ExternalLink(outside, "/x")),
    "group": lambda weights, name, values, outside: (
        weights.__delitem__(name), weights.create_group(name)
    ),
    "type": lambda weights, name, values, outside: (
        weights.__delitem__(name), weights.__setitem__(name, np.dtype("f4"))
    ),
    "missing": lambda weights, name, values, outside: weights.__delitem__(name),
    "left over": lambda weights, name, values, outside: weights.__setitem__("more/vars/0", values),
    "virtual": _virtual,
    "cycle": _cycle,
    "deep": _deep,
    "not finite": _not_finite,
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
