import importlib
import json
import re
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import keras_regvq
from keras_regvq.metrics import FrechetDistance

SMALL = ["--image-size", "32", "--count", "8", "--features", "random"]


@pytest.fixture
def recipe():
    return importlib.import_module("evaluate")


def folder_of_pictures(path, count, size=40):
    path.mkdir()
    for index, image in enumerate(keras_regvq.data.scenes(count, size=size)["images"]):
        Image.fromarray(image).save(path / f"{index}.png")
    return f"folder:{path}"


def page_of(preset):
    return Path("runs/evaluate") / importlib.import_module("shared.preset_folders").folder_name(
        preset
    )


def test_a_tokenizers_page_shows_its_best_and_worst_reconstructions(recipe, tokenizer):
    numbers = recipe.main(["--preset", tokenizer, *SMALL])[tokenizer]
    assert set(numbers) == {
        "images", "psnr", "ssim", "codebook_usage", "codebook_perplexity", "perceptual_distance",
        "frechet_distance", "kernel_distance", "precision", "recall",
    }  # fmt: skip
    directory = page_of(tokenizer)
    assert json.loads((directory / "results.json").read_text())["numbers"] == numbers
    assert (directory / "index.html").read_text().count("data:image/png;base64,") == 4

    model = keras_regvq.from_preset(tokenizer)
    images = keras_regvq.data.scenes(8, size=32, split="test")["images"]
    made = model.reconstruct(images)
    psnr = -10 * np.log10(np.square(images / 255 - made).mean((1, 2, 3))).mean()
    assert numbers["psnr"] == pytest.approx(psnr, abs=1e-3)
    features = importlib.import_module("shared.set_distances").feature_networks("random")[1]
    distance = FrechetDistance(lambda x: keras.ops.mean(features(x), axis=(1, 2)))
    distance.update_state(images, made)
    assert numbers["frechet_distance"] == pytest.approx(float(distance.result()), rel=1e-3)


@pytest.mark.parametrize("split", ["test", "train", "all"])
def test_the_number_of_images_is_that_of_the_split(recipe, tokenizer, tmp_path, capsys, split):
    source = folder_of_pictures(tmp_path / "held_out", 12)
    parts = {
        part: int(keras_regvq.data.load(source, part, 32, 1, shuffle=False).cardinality())
        for part in ("test", "train")
    }
    measured = sum(parts.values()) if split == "all" else parts[split]
    options = ["--preset", tokenizer, "--data", source, "--split", split]
    numbers = recipe.main(options)[tokenizer]
    results = json.loads((page_of(tokenizer) / "results.json").read_text())
    page, printed = (page_of(tokenizer) / "index.html").read_text(), capsys.readouterr().out
    assert numbers["images"] == results["numbers"]["images"] == measured
    assert f"<th>Images measured</th><td>{measured}</td>" in page
    for text in (page.replace("&#x27;", "'"), printed):
        assert f"{measured} of split '{split}'" in text
        assert "few: others would give other numbers" in text
        assert ("which has 12 images in all" in text) == (split != "all")
        assert ("about a tenth, by name, is set aside" in text) == (split == "test")


def test_all_images_of_a_folder_are_those_of_both_splits(recipe, tokenizer, tmp_path):
    source = folder_of_pictures(tmp_path / "held_out", 12)
    load = importlib.import_module("shared.held_out").load_part
    parts = [load(source, part, (32, 32), ("images",), 99)["images"] for part in ("train", "test")]
    every = load(source, "all", (32, 32), ("images",), 99)["images"]
    assert sorted(map(bytes, every)) == sorted(map(bytes, np.concatenate(parts)))


def test_best_and_worst_images_share_none():
    choose = importlib.import_module("shared.held_out").best_and_worst
    scores = np.random.default_rng(0).permutation(30).astype(float)
    for count in range(1, 31):
        best, worst = choose(scores[:count])
        assert not set(best) & set(worst)
        assert len(best) + len(worst) == min(count, 20)
        order = np.argsort(-scores[:count])
        np.testing.assert_array_equal(best, order[: len(best)])
        np.testing.assert_array_equal(worst, order[::-1][: len(worst)])


@pytest.mark.seldom
def test_a_painter_is_measured_by_its_samples_for_held_out_captions(recipe, painter):
    numbers = recipe.main(["--preset", painter, *SMALL[2:]])[painter]
    assert {"bits_per_token", "cross_entropy", "frechet_distance", "recall"} < set(numbers)
    assert all(map(np.isfinite, numbers.values())) and numbers["images"] == 8
    assert "Samples for captions of the data" in (page_of(painter) / "index.html").read_text()
    with pytest.raises(ValueError, match="--image-size.*32 32"):
        recipe.main(["--preset", painter, "--image-size", "64"])


@pytest.mark.seldom
def test_several_presets_are_set_side_by_side(recipe, tokenizer, capsys):
    other = "regvq_f4_256"
    recipe.main(["--preset", tokenizer, other, "--image-size", "32", "--count", "4"])
    table = Path("runs/evaluate/compare.md").read_text()
    assert table.count("\n") == 4 and f"| {other} | " in table
    assert table in capsys.readouterr().out
    assert len(list(Path("runs/evaluate").glob("*/index.html"))) == 2
    page = Path("runs/evaluate/index.html").read_text()
    links = re.findall(r'<td><a href="([^"]+)">([^<]+)</a></td>', page)
    assert [name for _, name in links] == [tokenizer, other]
    assert all((Path("runs/evaluate") / link).is_file() for link, _ in links)
    assert page.count("data:image/png;base64,") == 2
    assert re.search(r"<td>4</td><td>\d+\.\d\d dB</td>", page)


def test_what_is_measured_is_on_disk_before_the_next_preset(recipe, tokenizer):
    with pytest.raises(SystemExit, match="^error: --preset .*nowhere"):
        recipe.main(["--preset", tokenizer, "nowhere", "--image-size", "32", "--count", "4"])
    assert (page_of(tokenizer) / "results.json").is_file()
    assert tokenizer in Path("runs/evaluate/compare.md").read_text()


def test_no_two_presets_share_a_folder(tmp_path, monkeypatch):
    name = importlib.import_module("shared.preset_folders").folder_name
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    places = ["runs/a/preset", "runs_a/preset", "runs_a_preset", "../preset", "preset",
              "hf://a/b", "hf/a_b", "..", ".", "/", "a b", "a_b"]  # fmt: skip
    assert len({name(place) for place in places}) == len(places)
    assert all(re.fullmatch(r"[\w-][\w.-]*", name(place)) for place in places)
    assert (
        name("runs/a/preset/")
        == name("runs/a/preset")
        == name(f"{tmp_path}/inner/runs/a/preset")[-22:]
    )
    assert name("regvq_scenes_64") == "regvq_scenes_64"


def test_results_of_other_settings_are_not_replaced_in_silence(recipe, tokenizer, capsys):
    options = ["--preset", tokenizer, "--image-size", "32", "--count"]
    recipe.main([*options, "4"])
    recipe.main([*options, "4"])
    assert "replaced" not in capsys.readouterr().out
    recipe.main([*options, "5"])
    assert "are replaced; they were made with" in (printed := capsys.readouterr().out)
    assert "count 4" in printed
    (page_of(tokenizer) / "results.json").write_text("{")
    recipe.main([*options, "5"])
    assert "results.json is damaged, and is written anew" in capsys.readouterr().out


def test_images_need_not_be_square(recipe, tokenizer, tmp_path):
    source = folder_of_pictures(tmp_path / "pictures", 12, size=64)
    options = ["--data", source, "--image-size", "32", "48"]
    numbers = recipe.main(["--preset", tokenizer, *options, "--split", "train"])[tokenizer]
    assert np.isfinite(numbers["psnr"])


def test_distances_between_too_few_images_are_left_out_and_the_rest_is_kept(recipe, tokenizer):
    options = ["--image-size", "32", "--count", "3", "--features", "random"]
    numbers = recipe.main(["--preset", tokenizer, *options])[tokenizer]
    assert "psnr" in numbers and "perceptual_distance" in numbers
    assert not {"frechet_distance", "kernel_distance", "precision", "recall"} & set(numbers)
    facts = json.loads((page_of(tokenizer) / "results.json").read_text())["facts"]
    assert "too few for distances between sets" in facts["warning"]


def test_missing_features_are_named_before_anything_is_loaded(recipe, monkeypatch):
    sets = importlib.import_module("shared.set_distances")

    def missing(*args, **options):
        raise ImportError("pip install x")

    monkeypatch.setattr(sets, "EfficientNetLite0Features", missing)
    with pytest.raises(SystemExit, match="error: --features efficientnet: pip install x"):
        recipe.main(["--preset", "nowhere", "--features", "efficientnet"])


@pytest.mark.parametrize("option", [("--count", "0"), ("--image-size", "x"), ("--split", "dev")])
def test_wrong_options_are_named(recipe, option, capsys):
    with pytest.raises(SystemExit):
        recipe.main(option)
    assert f"argument {option[0]}" in capsys.readouterr().err


def test_too_few_images_are_named(recipe, tmp_path):
    (tmp_path / "few" / "images").mkdir(parents=True)
    with pytest.raises(ValueError, match="few"):
        recipe.main(["--data", f"folder:{tmp_path / 'few'}", *SMALL])


def test_the_page_says_which_pictures_were_left_out(recipe, tokenizer, tmp_path, capsys, recwarn):
    source = folder_of_pictures(tmp_path / "held_out", 6)
    (tmp_path / "held_out" / "empty.png").write_bytes(b"")
    broken = tmp_path / "held_out" / "3.png"
    broken.write_bytes(broken.read_bytes()[:-600])
    recipe.main(["--preset", tokenizer, "--data", source, "--split", "all", *SMALL])
    page = (page_of(tokenizer) / "index.html").read_text()
    printed = capsys.readouterr().out
    for text in (page, printed):
        assert "empty.png" in text and "3.png cannot be decoded" in text
    assert not [w for w in recwarn if "decoded" in str(w.message)]  # said once


def test_what_was_warned_of_before_an_error_is_shown():
    hearing = importlib.import_module("shared.preset_measurements")._hearing
    with pytest.warns(UserWarning, match="left out"), pytest.raises(OSError), hearing([]):
        warnings.warn("Two pictures were left out.", stacklevel=1)
        raise OSError("disk")
    said = []
    with pytest.warns(RuntimeWarning, match="overflow"), hearing(said):
        warnings.warn("Two pictures were left out.", stacklevel=1)
        warnings.warn("overflow", RuntimeWarning, stacklevel=1)
    assert said == ["Two pictures were left out."]
