import csv
import importlib
import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import keras_regvq
from keras_regvq.data import SCENE_CLASSES

pytestmark = pytest.mark.eager

ROOT = Path(__file__).parent.parent.parent
SMALL = (
    "--image-size 32 --layers 1 --heads 2 --width 16 --batch-size 4 --num-examples 8 "
    "--test-examples 8 --epoch-steps 2"
).split()


@pytest.fixture
def train(tokenizer):
    recipe = importlib.import_module("train_semantic_to_image")
    return lambda *options: recipe.main([*SMALL, "--tokenizer", tokenizer, *options])


@pytest.mark.seldom
@pytest.mark.parametrize(
    "options",
    [
        ["--prefix-grid", "4", "--cache", "tokens"],
        ["--condition", "tokens", "--label-steps", "2", "--checkpointing"],
    ],
)
def test_training_writes_a_preset_that_generates_and_a_report(train, options):
    numbers = train("--steps", "4", *options)
    assert 0 < numbers["bits_per_token"] < 8
    run = Path("runs/semantic_to_image")
    assert (run / "index.html").read_text().count("data:image/png;base64,") == 2
    assert list((run / "pictures").glob("samples_*.png"))
    model = keras_regvq.from_preset(run / "preset")
    maps = keras_regvq.data.scenes(2, size=32, split="test")["labels"]
    assert model.generate(maps, seed=0).shape == (2, 32, 32, 3)
    if "--cache" in options:
        assert len(list(Path("tokens").glob("*.npz"))) == 2


def test_training_goes_on_where_it_was_interrupted(train, monkeypatch):
    recipes = importlib.import_module("shared.prior_recipe")

    def interrupt(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(recipes.SamplePictures, "on_epoch_begin", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train("--steps", "6")
    with pytest.raises(SystemExit, match="--resume"):
        train("--steps", "6")
    keras.backend.clear_session()
    train("--steps", "6", "--resume")
    with open("runs/semantic_to_image/log.csv") as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == [0, 1, 2]


@pytest.mark.seldom
def test_a_run_killed_between_its_two_trainings_ends_as_if_nothing_had_happened(train, monkeypatch):
    options = ["--condition", "tokens", "--label-steps", "4", "--steps", "4", "--dropout", "0.1"]
    whole = train(*options, "--output", "runs/whole")

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    for where, name in (
        (keras_regvq.models.LabelMapTokenizer, "save_to_preset"),
        (keras_regvq.models, "TokenizedMapCondition"),
        (keras_regvq.models.SemanticToImage, "fit"),
    ):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(where, name, killed)
            train(*options, "--resume")
        keras.backend.clear_session()
    assert train(*options, "--resume") == whole
    both = [keras_regvq.from_preset(f"runs/{n}/preset") for n in ("whole", "semantic_to_image")]
    for one, other in zip(*(model.get_weights() for model in both), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["scenes", "ade20k", "celebamask_hq"])
def test_configs_hold_options_that_the_recipe_knows_and_the_command_line_overrides(name):
    recipe = importlib.import_module("train_semantic_to_image")
    config = str(ROOT / "recipes" / "configs" / f"{name}.toml")
    args = recipe.parse_arguments(["--config", config, "--steps", "7"])
    assert args.steps == 7
    assert args.data.startswith(name)
    if name != "scenes":
        assert (args.layers, args.heads, args.width, args.image_size) == (24, 16, 1024, 256)


def test_an_unknown_option_in_a_config_is_named(tmp_path, capsys):
    recipe = importlib.import_module("train_semantic_to_image")
    (tmp_path / "mine.toml").write_text("learning-rat = 1.0\n")
    with pytest.raises(SystemExit):
        recipe.parse_arguments(["--config", str(tmp_path / "mine.toml")])
    assert "learning_rat" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text, expected",
    [
        ('precision = "float8"', "argument --precision: invalid choice: 'float8'"),
        ("steps = 1.5", "argument --steps: '1.5' is not an integer of at least 1"),
        ("steps = true", "argument --steps: True is no value"),
        ("steps = [1, 2]", r"argument --steps: \[1, 2\] is no value"),
        ("data = {scenes = 1}", "argument --data: .* is no value"),
        ("resume = 1", "argument --resume: 1 is neither true nor false"),
        ('config = "other.toml"', "unknown options: config"),
        ("steps = ", "Invalid value"),
        (b'data = "folder:caf\xe9"', "can't decode byte 0xe9"),
        (None, "No such file"),
    ],
)
def test_what_is_wrong_in_a_config_is_refused_by_file_and_option(tmp_path, capsys, text, expected):
    recipe, path = importlib.import_module("train_semantic_to_image"), tmp_path / "mine.toml"
    if text is not None:
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(SystemExit):
        recipe.parse_arguments(["--config", str(path)])
    assert re.search(f"error: .*mine.toml: .*{expected}", capsys.readouterr().err)


def test_a_config_is_utf_8_and_its_values_are_what_the_command_line_would_make_of_them(tmp_path):
    path = tmp_path / "mine.toml"
    text = 'data = "folder:Hündchen"\ncache = "-tokens"\noutput = "runs/é"\nlearning-rate = 1\n'
    path.write_bytes(("\ufeff" + text + "overwrite = true\ncheckpointing = false\n").encode())
    recipe = importlib.import_module("train_semantic_to_image")
    args = recipe.parse_arguments(["--config", str(path), "--steps", "7"])
    assert args.data == "folder:Hündchen" and args.cache == "-tokens" and args.steps == 7
    assert args.output == Path("runs/é") and isinstance(args.learning_rate, float)
    assert args.overwrite is True and args.checkpointing is False
    path.write_text("multipliers = [1, 2, 4]\nattention-levels = []\n")
    recipe = importlib.import_module("train_text_to_image")
    args = recipe.parse_arguments(["--config", str(path), "--heads", "1"])
    assert args.multipliers == [1, 2, 4] and args.attention_levels == [] and args.heads == 1


def test_data_of_unknown_classes_need_their_number(train):
    with pytest.raises(SystemExit, match="--num-classes"):
        train("--data", "folder:somewhere")


def test_evaluation_reports_agreement_beside_real_images(map_painter, monkeypatch):
    segmenter = importlib.import_module("shared.scene_segmenter")
    monkeypatch.setattr(segmenter, "EXAMPLES", 32)
    monkeypatch.setattr(segmenter, "EPOCHS", 1)
    recipe = importlib.import_module("evaluate_semantic_to_image")
    report = recipe.main(["--preset", map_painter, "--count", "6"])
    output = Path("runs/evaluate_semantic_to_image")
    saved = json.loads((output / "results.json").read_text())
    assert saved["pictures"] == report["pictures"] and len(report["pictures"]) == 3
    assert (output / "results.md").read_text().count("\n") == 5
    assert Image.open(output / "samples.png").width > 100


def test_agreement_counts_pixels_and_classes(monkeypatch):
    recipe = importlib.import_module("shared.scene_segmenter")

    class Reads:
        """Sees the label that an image's first channel holds."""

        def predict(self, images, **options):
            return np.eye(len(SCENE_CLASSES))[np.round(images[..., 0] * 255).astype(int)]

    labels = np.array([[[0, 0], [0, 2]]])
    images = np.zeros((1, 2, 2, 3), "uint8")
    images[..., 0] = [[[0, 0], [2, 2]]]
    numbers = recipe.agreement(Reads(), images, labels)
    assert numbers["pixel_accuracy"] == pytest.approx(3 / 4)
    assert numbers["mean_iou"] == pytest.approx((2 / 3 + 1 / 2) / 2)
