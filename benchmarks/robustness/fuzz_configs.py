"""Read presets whose config.json is damaged or hostile.

python -m benchmarks.robustness.fuzz_configs --count 300
"""

import argparse
import copy
import json
import random
import shutil
import sys
import tempfile
from pathlib import Path

import keras

import keras_regvq
from benchmarks.robustness import tiny_presets
from benchmarks.robustness.fuzzing import fuzz, report

_VALUES = (
    None, True, False, 0, -1, 1, 3, 7, 16, 0.5, 1e308, 10**6, 2**31 - 1, 2**31, 10**12, 10**30,
    float("nan"), float("inf"), "", "x", "float16", "int8", "../..", "/etc/passwd", "hf://a/b",
    "keras_regvq>ImageTokenizer", "keras_hub>BertBackbone", "\ud800", [], {}, [1], [[]],
    [2**20] * 3, [1] * 2000, {"a": 1}, [10**9, 10**9], ["x"], [None],
)  # fmt: skip
_NAMES = (
    ("keras", "layers.TorchModuleWrapper", None), ("keras.layers", "Lambda", None),
    ("keras", "layers.Lambda", None), ("keras.src.layers.core.lambda_layer", "Lambda", None),
    ("builtins", "function", "eval"), ("os", "system", None), (None, "__lambda__", None),
    (None, "__numpy__", None), (None, "__tensor__", None), (None, "__typespec__", None),
    ("keras_regvq.models", "X", "keras_regvq>X"), ("keras", "Model", None),
    (None, "FeatureExtractor", "keras_regvq>FeatureExtractor"), ("keras.utils", "get_file", None),
    (None, "VGG19Features", "keras_regvq>VGG19Features"), ("keras", "models.load_model", None),
    (None, "TokenizerTrainer", "keras_regvq>TokenizerTrainer"), ("keras", "Sequential", None),
    (None, "PretrainedTextEncoder", "keras_regvq>PretrainedTextEncoder"), (5, [], {}),
    (None, "BertBackbone", "keras_hub>BertBackbone"), ("keras.initializers", "Zeros", None),
    ("keras", "DTypePolicyMap", None), ("keras.initializers", "get", None),
)  # fmt: skip


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--first", type=int, default=0)
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        models = {"tokenizer": tiny_presets.tokenizer(), **tiny_presets.painters()}
        for name, model in models.items():
            model.save_to_preset(folder / name)
        originals = [folder / name for name in models]
        keras.config.enable_unsafe_deserialization()
        return report(
            *fuzz(lambda number: make_case(originals, folder / "cases", number), read, args.count,
                  args.first)
        )  # fmt: skip


def read(path):
    keras_regvq.from_preset(path)


def make_case(originals, folder, number):
    """A folder with one of the presets, its config.json changed by the rules of this number."""
    chance = random.Random(number)
    original = originals[number % len(originals)]
    path = folder / f"case_{number}"
    shutil.copytree(original, path, dirs_exist_ok=True)
    text = (path / "config.json").read_text()
    config = json.loads(text)
    kind = chance.choice(("value", "value", "value", "name", "name", "remove", "add", "text"))
    if kind == "text":
        text = damage(text.encode(), chance)
    else:
        for _ in range(chance.choice((1, 1, 2, 4))):
            change(config, kind, chance)
        text = json.dumps(config).encode()
    (path / "config.json").write_bytes(text)
    return path


def change(config, kind, chance):
    """Change one place of a config."""
    places = list(places_in(config))
    named = [place for place in places if place[1] in ("class_name", "registered_name", "module")]
    holder, key = chance.choice(named if kind == "name" and named else places)
    if kind == "name":
        holder["module"], holder["class_name"], holder["registered_name"] = chance.choice(_NAMES)
    elif kind == "remove":
        del holder[key]
    elif kind == "add" and isinstance(holder, dict):
        extra = chance.choice(("build_config", "compile_config", "shared_object_id", "config", "a"))
        module, class_name, registered_name = chance.choice(_NAMES)
        hostile = {"module": module, "class_name": class_name, "registered_name": registered_name}
        holder[extra] = {**hostile, "config": chance.choice(({}, copy.deepcopy(config), "eval"))}
    else:
        holder[key] = copy.deepcopy(chance.choice(_VALUES))


def places_in(value):
    """All (dict, key) and (list, index) in nested JSON."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in list(items):
        yield value, key
        if isinstance(item, (dict, list)):
            yield from places_in(item)


def damage(text, chance):
    """Bytes of a file that is no whole JSON any more, or a strange one."""
    middle = chance.randrange(len(text))
    return chance.choice(
        (
            text[:middle],
            b"",
            b"[" * 100_000 + b"]" * 100_000,
            text[:middle] + bytes(chance.randrange(256) for _ in range(5)) + text[middle:],
            b"{" + b'"a":{' * 5000 + b"}" * 5001,
            text.replace(b"8", b"NaN", 1),
            text.replace(b"8", b"9" * 5000, 1),
            b"\xff\xfe" + text,
            b"5",
            b"[]",
            text * 2,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
