"""Runs that are interrupted, finished, overwritten, or go on: what --output holds decides."""

import csv
import importlib
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import keras_regvq

pytestmark = pytest.mark.eager

SMALL = (
    "--base-channels 8 --patch-size 2 --image-size 16 --codebook-size 16 "
    "--embedding-dim 8 --latent-channels 8 --batch-size 4 --num-examples 12 --epoch-steps 2"
).split()
RUN = Path("runs/tokenizer")


@pytest.fixture
def recipe(few_held_out):
    return importlib.import_module("train_tokenizer")


@pytest.fixture(scope="module")
def whole_runs(tmp_path_factory):
    return tmp_path_factory.mktemp("whole")


@pytest.fixture
def whole(recipe, whole_runs):
    """What a run without a kill gave: its numbers, and its folder."""
    folder = whole_runs / "run"
    if not folder.exists():
        numbers = train(recipe, "--steps", "6", "--output", str(folder))
        (whole_runs / "numbers.json").write_text(json.dumps(numbers))
        keras.backend.clear_session()
    return json.loads((whole_runs / "numbers.json").read_text()), folder


def train(recipe, *options):
    return recipe.main([*SMALL, *options])


def kill(monkeypatch, recipe, where, name, *options):
    """Run until `where.name` is called, and stop there as a kill would."""

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(where, name, killed)
        train(recipe, *options)


def epochs():
    with open(RUN / "log.csv") as file:
        return [int(row["epoch"]) for row in csv.DictReader(file)]


def weights():
    return keras_regvq.from_preset(RUN / "preset").get_weights()


def check_equal(one, other):
    for first, second in zip(one, other, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.seldom
@pytest.mark.parametrize("place", ["fit", "preset", "measuring", "report", "end"])
def test_a_kill_anywhere_loses_nothing(recipe, whole, monkeypatch, place):
    numbers, folder = whole
    folders = importlib.import_module("shared.run_folder")
    where = {
        "fit": (keras_regvq.training.TokenizerTrainer, "fit"),
        "preset": (keras_regvq.models.ImageTokenizer, "save_to_preset"),
        "measuring": (importlib.import_module("shared.evaluation"), "evaluate"),
        "report": (importlib.import_module("shared.evaluation"), "write_report"),
        "end": (folders.RunFolder, "_write"),
    }[place]
    if place == "end":
        train(recipe, "--steps", "4")
        where = (keras_regvq.training.Backup, "finish")
        kill(monkeypatch, recipe, *where, "--steps", "6", "--resume")
    else:
        kill(monkeypatch, recipe, *where, "--steps", "6")
    keras.backend.clear_session()
    resumed = train(recipe, "--steps", "6", "--resume")
    assert epochs() == [0, 1, 2]
    if place != "end":  # there the schedule of the first 4 steps was another
        assert resumed == numbers
        expected = keras_regvq.from_preset(folder / "preset").get_weights()
        check_equal(weights(), expected)
        for name in ("log.csv", "pictures/reconstructions_0002.png"):
            assert (RUN / name).read_bytes() == (folder / name).read_bytes()
    history = json.loads((RUN / "results.json").read_text())["history"]
    assert len(history["loss"]) == len(history["val_loss"]) == 3
    assert not (RUN / "backup").exists()


def test_a_finished_run_is_left_alone_and_goes_on_with_more_steps(recipe, capsys):
    train(recipe, "--steps", "4")
    before = weights()
    with pytest.raises(SystemExit, match="error: .*finished run: add --resume.*--overwrite"):
        train(recipe, "--steps", "4")
    capsys.readouterr()
    train(recipe, "--steps", "4", "--resume")
    assert capsys.readouterr().out.count("\n") == 1
    check_equal(weights(), before)
    train(recipe, "--steps", "8", "--resume")
    assert epochs() == [0, 1, 2, 3]
    assert any((a != b).any() for a, b in zip(weights(), before, strict=True))


def test_more_steps_than_the_state_allows_are_refused_in_one_line(recipe):
    train(recipe, "--steps", "2")
    (RUN / "state.npz").unlink()
    with pytest.raises(SystemExit, match="error: .*state.npz is gone"):
        train(recipe, "--steps", "4", "--resume")


@pytest.mark.parametrize(
    "options",
    [
        ["--base-channels", "16"],
        ["--data", "npz:other.npz"],
        ["--seed", "1"],
        ["--batch-size", "2"],
        ["--quantizer", "vqgan"],
    ],
)
def test_resuming_with_other_settings_is_refused_by_name(recipe, monkeypatch, options):
    kill(monkeypatch, recipe, keras_regvq.training.TokenizerTrainer, "fit", "--steps", "4")
    with pytest.raises(SystemExit, match=f"error: .*{options[0]} .*not {options[1]}"):
        train(recipe, "--steps", "4", *options, "--resume")


def test_resuming_where_nothing_is_starts(recipe):
    train(recipe, "--steps", "2", "--resume")
    assert epochs() == [0]


def test_a_run_of_an_older_version_is_neither_overwritten_nor_resumed(recipe):
    (RUN / "preset").mkdir(parents=True)
    with pytest.raises(SystemExit, match="--overwrite"):
        train(recipe, "--steps", "2")
    with pytest.raises(SystemExit, match="error: .*without its run.json"):
        train(recipe, "--steps", "2", "--resume")


@pytest.mark.parametrize(
    "name", ["log.csv", "index.html", "results.json", "pictures/codebook_0001.png", "preset/mine"]
)
def test_what_has_a_runs_names_in_a_folder_of_no_run_is_neither_removed_nor_replaced(recipe, name):
    mine = RUN / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    for options in ([], ["--resume"]):
        with pytest.raises(SystemExit, match=f"error: .*{mine.name if len(mine.parts) == 3 else ''}"
                           ".*run.json.*--output.*--overwrite"):  # fmt: skip
            train(recipe, "--steps", "2", *options)
    assert mine.read_text() == "mine"
    assert not (RUN / "run.json").exists()


def test_a_damaged_index_is_named(recipe):
    RUN.mkdir(parents=True)
    (RUN / "run.json").write_text("[")
    with pytest.raises(SystemExit, match="error: .*run.json is damaged"):
        train(recipe, "--steps", "2")


def test_overwriting_starts_anew_and_removes_what_is_stale(recipe):
    train(recipe, "--steps", "4")
    mine = RUN / "pictures" / "mine.png"
    Image.new("RGB", (2, 2)).save(mine)
    train(recipe, "--steps", "2", "--seed", "1", "--overwrite")
    names = {path.name for path in (RUN / "pictures").iterdir()}
    assert names == {"mine.png", "codebook_0001.png", "reconstructions_0001.png"}
    assert epochs() == [0]


def test_losses_that_are_nan_end_in_one_line_and_leave_the_good_backup(recipe, monkeypatch):
    original = keras_regvq.training.TokenizerTrainer.compute_loss

    def ruined(self, *args, **kwargs):
        return original(self, *args, **kwargs) * float("nan")

    kill(
        monkeypatch,
        recipe,
        importlib.import_module("shared.evaluation"),
        "evaluate",
        "--steps",
        "2",
    )
    kept = list((RUN / "backup").iterdir())
    (RUN / "preset" / "config.json").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(keras_regvq.training.TokenizerTrainer, "compute_loss", ruined)
        with pytest.raises(
            SystemExit, match="error: .*loss is nan.*--resume --learning-rate 0.005"
        ) as e:
            train(recipe, "--steps", "6", "--resume")
    assert "\n" not in str(e.value)
    assert list((RUN / "backup").iterdir()) == kept
    assert not (RUN / "preset" / "config.json").exists()
    train(recipe, "--steps", "6", "--resume", "--learning-rate", "0.005")
    assert epochs() == [0, 1, 2]


def test_a_preset_trained_on_at_another_size_says_so_and_the_report_shows_the_models_settings(
    recipe,
):
    train(recipe, "--steps", "2", "--output", "runs/first")
    other = [*SMALL, "--image-size", "32", "--codebook-size", "99", "--base-channels", "77"]
    recipe.main([*other, "--steps", "2", "--preset", "runs/first/preset"])
    assert keras_regvq.from_preset(RUN / "preset").image_size == (32, 32)
    facts = json.loads((RUN / "results.json").read_text())["facts"]
    assert facts["codebook_size"] == "16" and facts["base_channels"] == "8"
    assert facts["image_size"] == "(32, 32)" and facts["quantizer"] == "RegularizedQuantizer"
    assert "perceptual_weight" not in facts and "kl_weight" not in facts
    page = (RUN / "index.html").read_text()
    assert page.index("<table>") < page.index("<img") < page.rindex("<img") < page.rindex("<table>")
