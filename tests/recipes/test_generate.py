import importlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import keras_regvq
from keras_regvq.data import SCENE_PALETTE


@pytest.fixture
def recipe():
    return importlib.import_module("generate")


@pytest.mark.seldom
def test_held_out_maps_and_maps_that_someone_drew(recipe, map_painter, capsys):
    rows = recipe.main(["--preset", map_painter, "--count", "3", "--samples", "2"])
    assert [row.shape for row in rows] == [(3, 32, 32, 3)] * 3
    assert Image.open("runs/generated.png").size == (3 * 130 - 2, 3 * 130 - 2)
    assert "Maps: 3 of split 'test' of scenes." in capsys.readouterr().out

    labels = keras_regvq.data.scene(5, size=64, split="test").labels
    Image.fromarray(labels.astype("uint8")).save("labels.png")
    Image.fromarray(SCENE_PALETTE[labels]).save("colours.png")
    arguments = ["--preset", map_painter, "--samples", "1", "--map"]
    (shown, by_labels) = recipe.main([*arguments, "labels.png"])
    np.testing.assert_array_equal(shown[0], SCENE_PALETTE[labels[1::2, 1::2]])
    np.testing.assert_array_equal(recipe.main([*arguments, "colours.png"])[1], by_labels)


def test_prompts_and_held_out_captions(recipe, painter, capsys):
    arguments = ["--preset", painter, "--samples", "2", "--num-steps", "2"]
    rows = recipe.main([*arguments, "--prompt", "a red boat", "a tree", "--negative-prompt", "a"])
    assert [row.shape for row in rows] == [(2, 32, 32, 3)] * 2
    assert Image.open("runs/generated.png").size == (2 * 130 - 2, 2 * 130 - 2)
    capsys.readouterr()
    recipe.main([*arguments, "--count", "3"])
    caption = keras_regvq.data.scene(0, split="test").caption
    printed = capsys.readouterr().out
    assert f" 1  {caption}" in printed and "3 of split 'test' of scenes" in printed


@pytest.mark.parametrize(
    "options, message",
    [
        (["--count", "0"], "--count: '0' is not an integer of at least 1"),
        (["--samples", "0"], "--samples: '0'"),
        (["--top-p", "7"], "--top-p: '7' is not a number from 0 to 1"),
        (["--temperature", "nan"], "--temperature: 'nan'"),
        (["--top-k", "-1"], "--top-k: '-1'"),
        (["--output", "folder/out"], "--output folder/out"),
        (["--output", "out.psd"], "--output out.psd"),
        (["--output", "a_file/out.png"], "--output a_file/out.png"),
        (["--output", "a_folder.png"], "--output a_folder.png is a folder"),
        (["--prompt", "a boat", "--map", "map.png"], "--prompt and --map"),
    ],
)
def test_wrong_options_are_named_before_anything_is_loaded(recipe, options, message, capsys):
    Path("a_file").write_text("")
    Path("a_folder.png").mkdir()
    with pytest.raises(SystemExit):
        recipe.main(options)
    assert message in capsys.readouterr().err


@pytest.mark.seldom
def test_what_does_not_fit_the_model_is_named(recipe, painter, map_painter, tokenizer):
    for preset, options, message in (
        (painter, ["--map", "map.png"], "TextToImage: give it a --prompt"),
        (map_painter, ["--prompt", "a boat"], "SemanticToImage: give it a --map"),
        (map_painter, ["--negative-prompt", "a boat"], "--negative-prompt"),
        (map_painter, ["--num-steps", "3"], "--num-steps is for diffusion"),
        (map_painter, ["--guidance-scale", "3"], "--guidance-scale"),
        (painter, ["--prompt", "a boat", "--sampler", "magic"], "--sampler.*magic.*ancestral"),
        (painter, ["--prompt", "xyzzy plugh"], "--prompt 'xyzzy plugh'.*none of its words"),
        (painter, ["--prompt", " "], "--prompt is empty"),
        (tokenizer, [], "--preset .*ImageTokenizer"),
    ):
        with pytest.raises(SystemExit, match=message):
            recipe.main(["--preset", preset, *options])
    assert not Path("runs/generated.png").exists()


def test_a_broken_map_is_named_by_its_option_and_file(recipe, map_painter):
    Path("broken.png").write_text("no picture")
    Image.new("RGB", (40, 40), (1, 2, 3)).save("wrong.png")
    for name, message in (
        ("broken.png", "--map broken.png"),
        ("missing.png", "--map missing.png"),
        ("wrong.png", r"--map wrong.png .*\(1, 2, 3\) at row 0, column 0"),
    ):
        with pytest.raises(SystemExit, match=message):
            recipe.main(["--preset", map_painter, "--map", name])
    assert not Path("runs/generated.png").exists()


def test_the_scenes_labels_are_printed_with_their_colours(recipe, capsys):
    recipe.main(["--colours"])
    assert "0  sky          (135, 190, 235)" in capsys.readouterr().out
