import importlib
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import keras_regvq
from keras_regvq.pictures import image_grid
from keras_regvq.quantizers import RegularizedQuantizer

TINY = "--features random --seeds 0 1 --steps 2 --prior-steps 2 --examples 16 --test 8".split()


@pytest.fixture
def recipe(monkeypatch):
    recipe = importlib.import_module("ablation")
    small = {
        "base_channels": 8, "codes": 16, "embedding_dim": 8, "batch_size": 8,
        "prior_layers": 1, "prior_width": 64,
    }  # fmt: skip
    monkeypatch.setitem(recipe.SCALES, "cpu", {**recipe.SCALES["cpu"], **small})
    studies = recipe.studies(16)
    ladder = {name: studies["ladder"][name] for name in ("VQ-GAN", "+ PCL (Reg-VQ)")}
    mask = {name: studies["mask"][name] for name in ("0.2", "0.4")}
    monkeypatch.setattr(recipe, "studies", lambda codes: {"ladder": ladder, "mask": mask})
    return recipe


def test_a_cell_trains_and_measures_a_tokenizer_and_a_prior(recipe):
    cell = importlib.import_module("ablation_cell")
    scale = {**recipe.SCALES["cpu"], "steps": 2, "prior_steps": 2}
    images = keras_regvq.data.scenes(16, size=scale["image_size"])["images"]
    assert images.shape == (16, 32, 32, 3)
    settings = recipe.studies(16)["ladder"]["+ PCL (Reg-VQ)"]
    numbers, picture = cell.run_cell(settings, scale, "random", 0, images, images[:8])
    distances = ("frechet_distance", "kernel_distance", "precision", "recall")
    priors = ("autoregressive", "diffusion")
    kinds = ("reconstruction", *(f"{prior}_generation" for prior in priors))
    wanted = {f"{kind}_{d}" for kind in kinds for d in distances}
    wanted |= {f"{prior}_bits_per_token" for prior in priors}
    wanted |= {"psnr", "ssim", "codebook_usage", "codebook_perplexity"}
    seconds = {f"{part}{kind}seconds" for part in ("tokenizer_", "") for kind in ("cpu_", "")}
    assert set(numbers) == wanted | seconds
    assert all(map(np.isfinite, numbers.values()))
    assert picture.size == (8 * 32 + 7 * 2, 4 * 32 + 3 * 2)
    np.testing.assert_array_equal(np.asarray(picture)[:32, :32], images[0])


@pytest.mark.seldom
def test_a_cell_of_two_stages_has_bits_of_both(recipe, monkeypatch):
    cell = importlib.import_module("ablation_cell")
    scale = {**recipe.SCALES["cpu"], "steps": 2, "prior_steps": 2}
    images = keras_regvq.data.scenes(16, size=scale["image_size"])["images"]
    settings = importlib.import_module("ablation_studies").studies(16)["quantizers"]
    settings = {**settings["Residual VQ, 2 stages"], "codes": 16}
    tokenizer = cell.train_tokenizer(settings, scale, "random", 0, images)
    assert tokenizer.token_grid == (8, 8, 2) and tokenizer.codebook_size == 4
    network = cell.set_network("random")
    for kind in ("autoregressive", "diffusion"):
        numbers, samples = cell.measure_prior(
            kind, tokenizer, scale, settings, 0, images, images[:8], network
        )
        # Untrained, it knows nothing: 2 bits a token, 4 a position.
        assert 2.5 < numbers[f"{kind}_bits_per_token"] < 8
        assert samples.shape == (8, 32, 32, 3)


def made_up_cell(value):
    columns = importlib.import_module("ablation_studies").COLUMNS
    numbers = {**{name: value for name in columns}, "seconds": 1.0}
    return numbers, Image.new("RGB", (268, 100))


def test_a_killed_ablation_loses_one_cell_and_the_report_has_them_all(recipe, monkeypatch):
    ran = []

    def run_cell(settings, scale, features, seed, train, test):
        if len(ran) == 3 and "killed" not in ran:
            ran.append("killed")
            raise KeyboardInterrupt
        ran.append((settings, seed))
        return made_up_cell(seed + len(ran) / 10)

    monkeypatch.setattr(importlib.import_module("ablation_cell"), "run_cell", run_cell)
    with pytest.raises(KeyboardInterrupt):
        recipe.main(TINY)
    cells = Path("runs/ablation/cells")
    before = {path: path.read_text() for path in cells.glob("*.json")}
    assert len(before) == 3
    results = recipe.main(TINY)
    assert len(results) == 4 and len(list(cells.glob("*.json"))) == 4 and len(ran) == 5
    assert all(path.read_text() == text for path, text in before.items())
    assert {(cell["settings"]["quantizer"], cell["seed"]) for cell in results} == {
        (quantizer, seed) for quantizer in ("vq", "regvq") for seed in (0, 1)
    }
    text = Path("runs/ablation/ablation.md").read_text()
    psnr = [c["numbers"]["psnr"] for c in results if c["settings"]["quantizer"] == "vq"]
    assert f"| VQ-GAN | 2 | {np.mean(psnr):.2f} ± {np.std(psnr, ddof=1):.2f} |" in text
    assert Path("runs/ablation/ladder_scenes.png").stat().st_size > 5000
    shown = Image.open("runs/ablation/ladder_scenes_pictures.png")
    assert shown.height > shown.width / 10
    assert recipe.main([*TINY, "--report"]) == results
    report = Path("runs/ablation/ablation.md")
    assert "## mask" not in report.read_text()  # only the cell that it shares with the ladder
    assert len(recipe.main([*TINY, "--studies", "mask"])) == 6  # mask 0.4 is the ladder's last
    assert "## mask" in report.read_text() and "## ladder" in report.read_text()
    count = len(ran)
    with pytest.raises(SystemExit, match="steps 2, not 3: name another --output"):
        recipe.main([*TINY, "--steps", "3", "--seeds", "5"])  # none of which is there
    assert len(ran) == count
    assert json.loads(next(cells.glob("*.json")).read_text())["facts"]["steps"] == 2


def test_the_picture_has_the_test_images_once_and_then_a_variants_three_rows(tmp_path):
    colours = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 0, 255)], "uint8")
    rows = [np.broadcast_to(colour, (12, 32, 32, 3)) for colour in colours]
    image_grid(rows).save(tmp_path / "cell.png")
    report = importlib.import_module("ablation_report")
    report.show({"VQ-GAN": tmp_path / "cell.png"}, tmp_path / "shown.png")
    shown = np.asarray(Image.open(tmp_path / "shown.png").convert("RGB"))
    first, last = zip(
        *(np.flatnonzero((shown == c).all(-1).any(1))[[0, -1]] for c in colours), strict=True
    )
    heights = np.subtract(last, first)
    assert np.ptp(heights) <= 2  # whole rows of images, one of each
    assert first[1] - last[0] > 12 > first[2] - last[1] > 0  # a title is above the reconstructions


def test_differences_are_of_equal_seeds_and_bold_where_all_have_one_sign():
    report = importlib.import_module("ablation_report")
    columns = importlib.import_module("ablation_studies").COLUMNS

    def row(**values):
        return {
            seed: {**dict.fromkeys(columns, 1.0), "psnr": psnr} for seed, psnr in values.items()
        }

    rows = {
        "all better": row(a=21.0, b=22.5),
        "mixed": row(a=19.0, b=25.0),
        "reference": row(a=20.0, b=21.0, c=30.0),
        "one seed": row(c=32.0, d=1.0),
        "none in common": row(d=1.0),
    }
    lines = report.differences(rows, "reference").splitlines()
    cells = {line.split(" | ")[0].strip("| "): line.split(" | ")[1:3] for line in lines[4:] if line}
    assert cells == {
        "all better": ["2", "**+1.25 ± 0.35**"],
        "mixed": ["2", "+1.50 ± 3.54"],
        "one seed": ["1", "+2.00"],
    }
    assert "usage" not in lines[2]


def test_a_variant_to_compare_with_has_to_be_one(capsys):
    recipe = importlib.import_module("ablation")
    with pytest.raises(SystemExit):
        recipe.parse_arguments(["--against", "VQ-VAE"])
    assert "--against: 'VQ-VAE' is a variant of no study" in capsys.readouterr().err
    assert recipe.parse_arguments(["--against", "VQ-GAN"]).against == "VQ-GAN"


@pytest.mark.seldom
@pytest.mark.parametrize("damage", ["", "{", "[]", '{"settings": {}}', "[" * 9000])
def test_a_damaged_cell_is_named_and_made_anew(recipe, monkeypatch, capsys, damage):
    cells = importlib.import_module("ablation_cell")
    monkeypatch.setattr(cells, "run_cell", lambda *args: made_up_cell(1.0))
    recipe.main(TINY)
    path = sorted(Path("runs/ablation/cells").glob("*.json"))[0]
    whole = path.read_text()
    path.write_text(damage)
    path.with_suffix(".png").write_bytes(b"no picture")
    capsys.readouterr()
    assert len(recipe.main([*TINY, "--report"])) == 3
    assert f"{path} is damaged, and left out" in capsys.readouterr().out
    assert len(recipe.main(TINY)) == 4
    assert capsys.readouterr().out.count("is damaged, and left out") == 1
    assert path.read_text() == whole


def test_a_damaged_picture_of_a_cell_is_left_out(recipe, monkeypatch, capsys):
    cells = importlib.import_module("ablation_cell")
    monkeypatch.setattr(cells, "run_cell", lambda *args: made_up_cell(1.0))
    recipe.main(TINY)
    for path in Path("runs/ablation/cells").glob("*_0.png"):
        path.write_bytes(b"no picture")
    recipe.main([*TINY, "--report"])
    assert "Left out of the pictures: " in capsys.readouterr().out
    with pytest.raises(SystemExit, match="no finished cells in elsewhere/cells"):
        recipe.main([*TINY, "--report", "--output", "elsewhere"])


def test_data_sets_have_short_names_where_these_tell_them_apart():
    short = importlib.import_module("ablation_report").short_names
    assert short({"emoji:a", "scenes"}) == {"emoji:a": "emoji", "scenes": "scenes"}
    assert short({"folder:a", "folder:b"}) == {"folder:a": "folder:a", "folder:b": "folder:b"}


def test_missing_features_are_named_before_the_data_are_read(recipe):
    for name in ("missing.pth", "a_folder"):
        Path("a_folder").mkdir(exist_ok=True)
        with pytest.raises(SystemExit, match=f"error: --features {name}: .*{name}"):
            recipe.main([*TINY, "--data", "folder:nowhere", "--features", name])


def test_the_quantizers_of_their_study_have_equal_codes_or_nearly():
    cell = importlib.import_module("ablation_cell")
    scale = importlib.import_module("ablation_studies").SCALES["cpu"]
    study = importlib.import_module("ablation").studies(scale["codes"])["quantizers"]
    built = {name: cell.build_quantizer(s, scale, 0) for name, s in study.items()}
    sizes = {name: q.codebook_size**q.tokens_per_position for name, q in built.items()}
    assert len(sizes) == 13 and sizes.pop("FSQ") == 240 and set(sizes.values()) == {256}
    kept = built["VQ, cosine, EMA, k-means start, dead codes replaced"]
    assert (kept.ema, kept.codebook_start, kept.dead_code_threshold) == (0.99, "kmeans", 0.5)
    assert built["VQ, cosine, projected to 8 dimensions"].projection_dim == 8


def test_the_studies_vary_what_they_say():
    studies = importlib.import_module("ablation").studies(256)
    assert list(studies["ladder"]) == [
        "VQ-GAN", "Gumbel-VQ", "+ prior", "+ mask", "+ contrastive", "+ PCL (Reg-VQ)",
    ]  # fmt: skip
    assert [s["mask_ratio"] for s in studies["mask"].values()] == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert {s["codes"] for s in studies["codebook"].values()} == {256, 512, 1024, 2048, 4096}
    assert len({tuple(s.values()) for s in studies["prior"].values()}) == 8
    cell = importlib.import_module("ablation_cell")
    scale = {"embedding_dim": 8, "logits": "cosine"}
    finite = [cell.build_quantizer(s, scale, 0) for s in studies["finite"].values()]
    assert [quantizer.codebook_size for quantizer in finite] == [256, 256, 240, 1000, 4375, 15360]
    hybrids = [cell.build_quantizer(s, scale, 0) for s in studies["hybrids"].values()]
    parts = [(q.mask_ratio, q.prior_weight, q.prior_target, q.scale, q.ema) for q in hybrids[1:]]
    assert hybrids[0].get_config() == {**hybrids[1].get_config(), "name": hybrids[0].name}
    assert parts == [
        (0, 0.01, "uniform", 10, 0.99), (0, 0.01, "running", 10, 0.99),
        (0.4, 0, "uniform", 30, 0.99), (0.4, 0.01, "uniform", 30, 0.99),
    ]  # fmt: skip
    assert len({str(s) for s in studies["search"].values()}) == len(studies["search"])
    scales = importlib.import_module("ablation").SCALES
    assert set(scales["cpu"]) == set(scales["paper"])


def test_settings_may_change_for_the_last_third(recipe, monkeypatch):
    """Its steps are traced anew: what is sampled while training then is nothing."""
    full = recipe.studies(16)["mask"]["0.4"]
    last = {"mask_ratio": 0.0, "temperature": 0.5}
    settings = {**full, "at_last": last, "codebook_deviation": 0.1, "logits_factor": 4}
    cell = importlib.import_module("ablation_cell")
    scale = {**recipe.SCALES["cpu"], "steps": 6}
    images = np.random.default_rng(0).random((16, 32, 32, 3), dtype="float32")
    ratios, choose = [], RegularizedQuantizer.choose_masked
    monkeypatch.setattr(
        RegularizedQuantizer,
        "choose_masked",
        lambda self, features: ratios.append(self.mask_ratio) or choose(self, features),
    )
    tokenizer = cell.train_tokenizer(settings, scale, "none", 0, images)
    assert set(ratios) == {0.4, 0.0} and ratios == sorted(ratios, reverse=True)
    codebook = keras.ops.convert_to_numpy(tokenizer.quantizer.codebook)
    assert codebook.std() < 0.2
    assert float(tokenizer.quantizer.temperature) == 0.5
    assert (tokenizer.quantizer.logits, tokenizer.quantizer.scale) == ("cosine", 40.0)


def test_a_number_of_codes_that_fsq_has_no_levels_for_is_refused(capsys):
    recipe = importlib.import_module("ablation")
    with pytest.raises(SystemExit):
        recipe.main(["--studies", "quantizers", "--codes", "2048"])
    assert "--codes: 2048; the study quantizers takes one of 256, 1024" in capsys.readouterr().err
