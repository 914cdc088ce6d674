import importlib
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import keras_regvq

pytestmark = pytest.mark.eager

ROOT = Path(__file__).parent.parent.parent
SMALL = (
    "--image-size 32 --channels 8 --multipliers 1 --attention-levels --res-blocks 1 --heads 2 "
    "--text-layers 1 --batch-size 4 --num-examples 8 --test-examples 8 --epoch-steps 2"
).split()


@pytest.fixture
def train(tokenizer):
    recipe = importlib.import_module("train_text_to_image")
    return lambda *options: recipe.main([*SMALL, "--tokenizer", tokenizer, *options])


@pytest.mark.seldom
@pytest.mark.parametrize(
    "options",
    [
        ["--cache", "tokens", "--optimizer", "muon"],
        ["--process", "gaussian", "--condition-dropout", "0", "--precision", "mixed_bfloat16"],
    ],
)
def test_training_writes_a_preset_that_generates_and_a_report(train, options):
    numbers = train("--steps", "4", *options)
    assert np.isfinite(numbers["loss"])
    run = Path("runs/text_to_image")
    assert (run / "index.html").read_text().count("data:image/png;base64,") == 2
    assert list((run / "pictures").glob("samples_*.png"))
    model = keras_regvq.from_preset(run / "preset")
    assert model.prior.dtype_policy.name == "float32"
    with pytest.warns(UserWarning, match="zeppelin"):
        pictures = model.generate(["a red boat", "a zeppelin"], num_steps=2, seed=0)
    assert pictures.shape == (2, 32, 32, 3)
    if "--cache" in options:
        assert len(list(Path("tokens").glob("*.npz"))) == 2


@pytest.mark.parametrize("name", ["scenes_text", "cub", "coco", "emoji"])
def test_configs_hold_options_that_the_recipe_knows(name):
    recipe = importlib.import_module("train_text_to_image")
    config = str(ROOT / "recipes" / "configs" / f"{name}.toml")
    args = recipe.parse_arguments(["--config", config, "--steps", "7"])
    assert args.steps == 7 and args.ema > 0.99
    assert name.split("_")[0] in args.data


@pytest.mark.seldom
def test_evaluation_reports_what_is_found_beside_real_images(painter, monkeypatch):
    classifier = importlib.import_module("shared.scene_classifier")
    monkeypatch.setattr(classifier, "EXAMPLES", 32)
    monkeypatch.setattr(classifier, "EPOCHS", 1)
    recipe = importlib.import_module("evaluate_text_to_image")
    copy = str(shutil.copytree(painter, "copy"))
    options = ["--tokenizers", "regvq_f4_256", "--count", "4", "--steps", "1", "2"]
    report = recipe.main(["--preset", painter, copy, *options])
    output = Path("runs/evaluate_text_to_image")
    assert report["images"] == 4 and "4 images are few" in report["warnings"][0]
    assert [row.get("preset") for row in report["results"]][3:7] == [painter] * 2 + [copy] * 2
    assert json.loads((output / "results.json").read_text()) == report
    assert (output / "results.md").read_text().count("\n") == 2 + 2 * 7
    assert Image.open(output / "steps.png").width > 300
    assert Image.open(output / "samples.png").width > 100


def test_seen_and_unseen_scenes_are_what_they_say():
    recipe = importlib.import_module("evaluate_text_to_image")
    held_out = set(keras_regvq.data.HELD_OUT)
    for unseen in (False, True):
        scenes = recipe.held_out_scenes(4, 32, unseen)
        for facts in scenes["attributes"]:
            pairs = {(thing["colour"], thing["kind"]) for thing in facts["objects"]}
            assert bool(pairs & held_out) == unseen and pairs


def test_found_facts_count_objects_colours_ground_and_time():
    recipe = importlib.import_module("shared.scene_classifier")
    attributes = [
        {
            "objects": [{"colour": "red", "kind": "boat"}, {"colour": "blue", "kind": "tree"}],
            "ground": "water",
            "time": "night",
        },
        {"objects": [{"colour": "red", "kind": "car"}], "ground": "sand", "time": "day"},
    ]

    class Sees:
        """A green boat, a blue tree; a red car; sand and night in both."""

        def predict(self, images, **options):
            pairs = np.full((2, len(recipe.PAIRS)), -9.0)
            pairs[0, recipe.PAIRS.index(("green", "boat"))] = 9
            pairs[0, recipe.PAIRS.index(("blue", "tree"))] = 9
            pairs[1, recipe.PAIRS.index(("red", "car"))] = 9
            ground = np.eye(4)[[recipe.GROUND_NAMES.index("sand")] * 2]
            return {"pairs": pairs, "ground": ground, "time": np.eye(4)[[3, 3]]}

    numbers = recipe.found_facts(Sees(), np.zeros((2, 8, 8, 3), "uint8"), attributes)
    assert numbers == pytest.approx(
        {"kinds": 1.0, "objects": 2 / 3, "ground": 0.5, "time": 0.5, "facts": 4 / 7}
    )


def test_the_words_are_those_of_all_captions_of_an_image():
    recipe = importlib.import_module("train_text_to_image")
    captions = [["a red boat", "one tiny ship"], ["a tree", "green leaves on it"]]
    np.savez("mine.npz", images=np.zeros((2, 32, 32, 3), "uint8"), captions=captions)
    args = recipe.parse_arguments([*SMALL, "--data", "npz:mine.npz"])
    words = set(recipe.build_text_encoder(args).words)
    assert words == {word for texts in captions for text in texts for word in text.split()}


def test_training_starts_from_a_painter_that_there_is(painter):
    recipe = importlib.import_module("train_text_to_image")
    model = recipe.build_model(recipe.parse_arguments([*SMALL, "--steps", "4", "--start", painter]))
    expected = keras_regvq.from_preset(painter)
    for ours, theirs in zip(model.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs)
        )
    assert model.optimizer is not None


@pytest.mark.parametrize("process", ["gaussian", "discrete"])
def test_a_painter_starts_from_anothers_network_and_words(painter, tokenizer, process):
    recipe = importlib.import_module("train_text_to_image")
    options = ["--tokenizer", tokenizer, "--process", process, "--unet", painter]
    model = recipe.build_model(recipe.parse_arguments([*SMALL, *options]))
    expected = keras_regvq.from_preset(painter)
    assert model.text_encoder.words == expected.text_encoder.words
    same = ("process",) if process == "discrete" else ()  # of one kind, over the same tokens
    for part in ("unet", "condition", *same):
        ours, theirs = (getattr(m.prior, part).get_weights() for m in (model, expected))
        for our, their in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(our, their)
