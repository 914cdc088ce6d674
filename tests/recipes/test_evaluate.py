import importlib
import json
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_regvq
from keras_regvq.metrics import FrechetDistance

SMALL = ["--image-size", "32", "--count", "8", "--features", "random"]


@pytest.fixture
def recipe():
    return importlib.import_module("evaluate")


def test_a_tokenizers_page_shows_its_best_and_worst_reconstructions(recipe, tokenizer):
    numbers = recipe.main(["--preset", tokenizer, *SMALL])[tokenizer]
    assert set(numbers) == {
        "psnr", "ssim", "codebook_usage", "codebook_perplexity", "perceptual_distance",
        "frechet_distance", "kernel_distance", "precision", "recall",
    }  # fmt: skip
    directory = next(Path("runs/evaluate").iterdir())
    assert json.loads((directory / "results.json").read_text())["numbers"] == numbers
    assert (directory / "index.html").read_text().count("data:image/png;base64,") == 4

    model = keras_regvq.from_preset(tokenizer)
    images = keras_regvq.data.scenes(8, size=32, split="test")["images"]
    made = model.reconstruct(images)
    psnr = -10 * np.log10(np.square(images / 255 - made).mean((1, 2, 3))).mean()
    assert numbers["psnr"] == pytest.approx(psnr, abs=1e-3)
    features = recipe.feature_networks("random")[1]
    distance = FrechetDistance(lambda x: keras.ops.mean(features(x), axis=(1, 2)))
    distance.update_state(images, made)
    assert numbers["frechet_distance"] == pytest.approx(float(distance.result()), rel=1e-3)


def test_a_painter_is_measured_by_what_it_paints_of_held_out_captions(recipe, painter):
    numbers = recipe.main(["--preset", painter, *SMALL])[painter]
    assert {"bits_per_token", "cross_entropy", "frechet_distance", "recall"} < set(numbers)
    assert all(map(np.isfinite, numbers.values()))
    page = next(Path("runs/evaluate").iterdir()) / "index.html"
    assert "Painted from held-out captions" in page.read_text()


def test_several_presets_are_set_side_by_side(recipe, tokenizer, capsys):
    other = "regvq_f4_256"
    recipe.main(["--preset", tokenizer, other, "--image-size", "32", "--count", "4"])
    table = Path("runs/evaluate/compare.md").read_text()
    assert table.count("\n") == 4 and f"| {other} | " in table
    assert table in capsys.readouterr().out
    assert len(list(Path("runs/evaluate").glob("*/index.html"))) == 2
    assert "PSNR" in Path("runs/evaluate/index.html").read_text()


def test_too_few_images_are_named(recipe, tmp_path):
    (tmp_path / "few" / "images").mkdir(parents=True)
    with pytest.raises(ValueError, match="few"):
        recipe.main(["--data", f"folder:{tmp_path / 'few'}", *SMALL])
