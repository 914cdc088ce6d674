import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import keras_regvq

NAMES = ["VQ-GAN (nearest code)", "Reg-VQ"]


@pytest.fixture
def recipe(monkeypatch):
    """Untrained tokenizers on eight scenes."""
    scenes = keras_regvq.data.scenes
    monkeypatch.setattr(keras_regvq.data, "scenes", lambda count, **options: scenes(8, **options))
    quickstart = importlib.import_module("quickstart")
    monkeypatch.setattr(quickstart, "train_tokenizer", lambda *args: None)
    return importlib.import_module("compare_quantizers")


def test_a_killed_comparison_keeps_the_runs_that_are_done_and_their_pictures(recipe, monkeypatch):
    quickstart, ran = importlib.import_module("quickstart"), []

    def train(*args):
        ran.append(1)
        if len(ran) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(quickstart, "train_tokenizer", train)
    output = Path("runs/quantizers")
    with pytest.raises(KeyboardInterrupt):
        recipe.main(["--only", *NAMES])
    assert list(json.loads((output / "quantizers.json").read_text())) == NAMES[:1]
    assert NAMES[0] in (output / "quantizers.md").read_text()
    first = np.asarray(Image.open(output / "quantizers.png"))

    recipe.main(["--only", *NAMES])
    assert len(ran) == 3
    both = np.asarray(Image.open(output / "quantizers.png"))
    assert both.shape[0] == 3 * 128 + 2 * 4
    np.testing.assert_array_equal(both[: len(first)], first)
    images = keras_regvq.data.scenes(8, size=64, split="test")["images"]
    np.testing.assert_array_equal(both[:128:2, :128:2], images[0])


def test_every_quantizer_that_it_names_can_be_built(recipe):
    built = {name: recipe.build_quantizer(name, 3) for name in recipe.QUANTIZERS}
    seeded = [built[name] for name, (kind, _) in recipe.QUANTIZERS.items() if kind in recipe.SEEDED]
    assert {quantizer.seed for quantizer in seeded} == {3}
    assert built.pop("FSQ").codebook_size == 240
    assert {q.codebook_size**q.tokens_per_position for q in built.values()} == {256}


def test_damaged_results_are_named_and_kept(recipe):
    path = Path("runs/quantizers/quantizers.json")
    path.parent.mkdir(parents=True)
    for text in ("", "{", "[1]", '{"Reg-VQ": {"0": {"psnr": "much"}}}', "[" * 9000):
        path.write_text(text)
        with pytest.raises(ValueError, match="quantizers.json is damaged"):
            recipe.main([])
        assert path.read_text() == text
