import csv
import importlib
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

import keras_regvq

pytestmark = pytest.mark.eager

SMALL = (
    "--base-channels 8 --patch-size 2 --image-size 16 --codebook-size 16 "
    "--embedding-dim 8 --latent-channels 8 --batch-size 4 --num-examples 8 --epoch-steps 2"
).split()


@pytest.mark.compiled
def test_the_quickstart_writes_a_report_and_a_preset(monkeypatch, capsys):
    quickstart = importlib.import_module("quickstart")
    monkeypatch.setattr(quickstart, "IMAGES", 8)
    monkeypatch.setattr(quickstart, "EPOCHS", 2)
    monkeypatch.setattr(quickstart, "BATCH_SIZE", 4)
    scenes = keras_regvq.data.scenes

    def few_scenes(count, **options):
        return scenes(8, **options)

    monkeypatch.setattr(keras_regvq.data, "scenes", few_scenes)
    with pytest.raises(SystemExit):
        quickstart.main(["--help"])
    assert "No arguments" in capsys.readouterr().out
    quickstart.main([])

    printed = capsys.readouterr().out
    page = Path("runs/quickstart/index.html").read_text()
    assert page.count("data:image/png;base64,") == 4
    assert "runs/quickstart/index.html" in printed
    tokenizer = keras_regvq.from_preset("runs/quickstart/preset")
    images = scenes(8, size=64, split="test")["images"]
    results = json.loads(Path("runs/quickstart/results.json").read_text())
    expected = np.mean(
        [
            peak_signal_noise_ratio(image / np.float32(255), other, data_range=1.0)
            for image, other in zip(images, tokenizer.reconstruct(images), strict=True)
        ]
    )
    assert results["numbers"]["psnr"] == pytest.approx(expected, abs=1e-3)
    assert f"{expected:.2f} dB" in page


@pytest.mark.usefixtures("few_held_out")
def test_train_tokenizer_measures_what_it_trained():
    recipe = importlib.import_module("train_tokenizer")
    options = ["--quantizer", "gumbelvq", "--final-temperature", "0.1", "--ema", "0.9"]
    numbers = recipe.main([*SMALL, "--steps", "4", *options])
    assert set(numbers) == {"psnr", "ssim", "codebook_usage", "codebook_perplexity"}
    assert all(np.isfinite(value) for value in numbers.values())
    assert Path("runs/tokenizer/index.html").is_file()
    assert keras_regvq.from_preset("runs/tokenizer/preset").codebook_size == 16


def test_train_tokenizer_takes_a_quantizer_without_a_codebook():
    recipe = importlib.import_module("train_tokenizer")
    recipe.main([*SMALL, "--steps", "2", "--quantizer", "fsq", "--levels", "4", "3"])
    tokenizer = keras_regvq.from_preset("runs/tokenizer/preset")
    assert tokenizer.quantizer.levels == (4, 3)
    assert "(4, 3)" in Path("runs/tokenizer/index.html").read_text()


@pytest.mark.seldom
@pytest.mark.parametrize("own", [False, True])
def test_train_tokenizer_takes_stages(own):
    recipe = importlib.import_module("train_tokenizer")
    options = ["--steps", "2", "--quantizer", "residual", "--stages", "3"]
    numbers = recipe.main([*SMALL, *options, *["--own-codebooks"] * own])
    tokenizer = keras_regvq.from_preset("runs/tokenizer/preset")
    assert tokenizer.token_grid == (8, 8, 3)
    assert tokenizer.quantizer.num_codebooks == (3 if own else 1)
    assert 0 < numbers["codebook_usage"] <= 1


@pytest.mark.usefixtures("few_held_out")
def test_train_tokenizer_goes_on_where_it_was_interrupted(monkeypatch):
    recipe = importlib.import_module("train_tokenizer")

    options = [*SMALL, "--quantizer", "vqgan", "--steps", "6"]

    class Interrupt(keras_regvq.training.LowUsageWarning):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(keras_regvq.training, "LowUsageWarning", Interrupt)
        with pytest.raises(KeyboardInterrupt):
            recipe.main(options)
    with pytest.raises(SystemExit, match="--resume"):
        recipe.main(options)
    keras.backend.clear_session()
    recipe.main([*options, "--resume"])
    with open("runs/tokenizer/log.csv") as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == [0, 1, 2]


def test_help_names_every_option_with_its_default(capsys):
    recipe = importlib.import_module("train_tokenizer")
    with pytest.raises(SystemExit):
        recipe.parse_arguments(["--help"])
    text = capsys.readouterr().out
    for expected in ("--data", "[scenes]", "--mask-ratio", "[0.4]", "--resume", "--precision"):
        assert expected in text


@pytest.mark.parametrize(
    "name, option, wrong",
    [
        ("train_tokenizer", "--steps", "0"), ("train_tokenizer", "--epoch-steps", "-1"),
        ("train_tokenizer", "--accumulate", "0"), ("train_tokenizer", "--seed", "-1"),
        ("train_tokenizer", "--final-temperature", "0"), ("train_tokenizer", "--l1-weight", "nan"),
        ("train_tokenizer", "--channel-multipliers", "0"),
        ("train_tokenizer", "--seed", str(2**31)),
        ("train_semantic_to_image", "--label-factor", "3"),
        ("train_semantic_to_image", "--label-steps", "0"),
        ("train_text_to_image", "--num-examples", "0"), ("train_text_to_image", "--heads", "1.5"),
    ],
)  # fmt: skip
def test_numbers_that_cannot_be_are_named_by_their_option(name, option, wrong, capsys):
    with pytest.raises(SystemExit):
        importlib.import_module(name).parse_arguments([option, wrong])
    assert f"argument {option}: " in capsys.readouterr().err


@pytest.mark.seldom
@pytest.mark.usefixtures("few_held_out")
@pytest.mark.parametrize("channels", [1, 4])
def test_train_tokenizer_takes_other_channels_mirroring_and_half_precision(channels):
    recipe = importlib.import_module("train_tokenizer")
    options = ["--image-channels", str(channels), "--flip", "--steps", "2"]
    recipe.main([*SMALL, *options, "--precision", "mixed_bfloat16"])
    tokenizer = keras_regvq.from_preset("runs/tokenizer/preset")
    assert tokenizer.image_channels == channels
    config = json.loads(Path("runs/tokenizer/preset/config.json").read_text())["config"]
    assert config["dtype"]["config"]["name"] == "float32"
    evaluate = importlib.import_module("evaluate")
    results = evaluate.main(["--preset", "runs/tokenizer/preset", "--count", "4"])
    assert np.isfinite(results["runs/tokenizer/preset"]["psnr"])
