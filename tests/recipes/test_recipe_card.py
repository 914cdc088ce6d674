"""What recipes write on their presets' cards: data, numbers, and the command without folders."""

import importlib
import shlex

import keras
import pytest

from tests.recipes.test_recipes import SMALL

pytestmark = pytest.mark.eager


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("/home/me/photos", "photos"),
        ("/home/me/my photos/", "my photos"),
        ("folder:/home/me/photos", "folder:photos"),
        ("webdataset:/data/shards/*.tar", "webdataset:*.tar"),
        ("--output=/data/runs/a", "--output=a"),
        ("~/photos/summer", "summer"),
        ("C:\\Users\\me\\photos", "photos"),
        ("folder:C:/Users/me/photos", "folder:photos"),
        ("folder:photos/summer", "folder:photos/summer"),
        ("hf://user/name", "hf://user/name"),
        ("tfds:name/config", "tfds:name/config"),
        ("runs/first/preset", "runs/first/preset"),
        ("scenes", "scenes"),
        ("0.5", "0.5"),
    ],
)
def test_folders_of_the_machine_are_left_out(word, expected):
    card = importlib.import_module("shared.recipe_card")
    assert card.without_folders(word) == expected


def test_a_command_can_be_pasted_and_starts_from_nothing():
    card = importlib.import_module("shared.recipe_card")
    words = ["--data", "folder:/home/me/my photos", "--resume", "--steps", "5"]
    command = card.command_line("train_tokenizer", words)
    expected = ["--data", "folder:my photos", "--steps", "5"]
    assert shlex.split(command) == ["python", "recipes/train_tokenizer.py", *expected]


@pytest.mark.usefixtures("few_held_out")
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_a_trained_presets_card_has_data_numbers_and_command(tmp_path, precision):
    recipe = importlib.import_module("train_tokenizer")
    options = ["--steps", "2", "--output", str(tmp_path / "out"), "--precision", precision]
    numbers = recipe.main([*SMALL, *options])
    text = (tmp_path / "out" / "preset" / "README.md").read_text()
    assert f"KERAS_BACKEND={keras.backend.backend()} python recipes/train_tokenizer.py" in text
    assert f"--output out --precision {precision}\n" in text and str(tmp_path) not in text
    assert "(`scenes`), the first 8 at most" in text
    assert f"| psnr, held-out data | {numbers['psnr']:.4g} |" in text
