import importlib
import json
from pathlib import Path

import numpy as np
import pytest

TINY = "--features random --seeds 0 1 --steps 2 --prior-steps 2 --examples 16 --test 8".split()


@pytest.fixture
def recipe(monkeypatch):
    recipe = importlib.import_module("ablation")
    small = {
        "base_channels": 8, "codes": 16, "embedding_dim": 8, "batch_size": 8,
        "prior_layers": 1, "prior_width": 64,
    }  # fmt: skip
    monkeypatch.setitem(recipe.SCALES, "cpu", {**recipe.SCALES["cpu"], **small})
    ladder = {name: recipe.studies(16)["ladder"][name] for name in ("VQ-GAN", "+ PCL (Reg-VQ)")}
    monkeypatch.setattr(recipe, "studies", lambda codes: {"ladder": ladder})
    return recipe


def test_a_killed_ablation_loses_one_cell_and_the_report_has_them_all(recipe, monkeypatch):
    run, count = recipe.run_cell, []

    def killed(*arguments):
        if len(count) == 3:
            raise KeyboardInterrupt
        count.append(1)
        return run(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(recipe, "run_cell", killed)
        with pytest.raises(KeyboardInterrupt):
            recipe.main(TINY)
    cells = Path("runs/ablation/cells")
    before = {path: path.read_text() for path in cells.glob("*.json")}
    assert len(before) == 3
    results = recipe.main(TINY)
    assert len(results) == 4 and len(list(cells.iterdir())) == 4
    assert all(path.read_text() == text for path, text in before.items())
    assert {(cell["variant"], cell["seed"]) for cell in results} == {
        (variant, seed) for variant in ("VQ-GAN", "+ PCL (Reg-VQ)") for seed in (0, 1)
    }
    for cell in results:
        assert all(map(np.isfinite, cell["numbers"].values()))
    text = Path("runs/ablation/ablation.md").read_text()
    psnr = [c["numbers"]["psnr"] for c in results if c["variant"] == "VQ-GAN"]
    assert f"| VQ-GAN | 2 | {np.mean(psnr):.2f} ± {np.std(psnr, ddof=1):.2f} |" in text
    assert Path("runs/ablation/ladder_scenes.png").stat().st_size > 5000
    assert recipe.main([*TINY, "--report"]) == results
    with pytest.raises(SystemExit, match="steps 2, not 3: name another --output"):
        recipe.main([*TINY, "--steps", "3"])
    assert json.loads(next(cells.iterdir()).read_text())["facts"]["steps"] == 2


def test_the_studies_vary_what_they_say():
    studies = importlib.import_module("ablation").studies(256)
    assert list(studies["ladder"]) == [
        "VQ-GAN", "Gumbel-VQ", "+ prior", "+ mask", "+ contrastive", "+ PCL (Reg-VQ)",
    ]  # fmt: skip
    assert [s["mask_ratio"] for s in studies["mask"].values()] == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert {s["codes"] for s in studies["codebook"].values()} == {256, 512, 1024, 2048, 4096}
    assert len({tuple(s.values()) for s in studies["prior"].values()}) == 8
