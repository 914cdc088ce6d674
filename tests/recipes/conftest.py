import importlib
import sys
from pathlib import Path

import keras
import pytest

import keras_regvq

RECIPES = Path(__file__).parent.parent.parent / "recipes"


@pytest.fixture(autouse=True)
def recipes_on_path(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(RECIPES))
    monkeypatch.chdir(tmp_path)
    yield
    keras.config.set_dtype_policy("float32")  # --precision is a setting of the process
    commands = {path.stem for path in RECIPES.glob("*.py")}
    for name in list(sys.modules):
        if name in commands or name.split(".")[0] == "shared":
            del sys.modules[name]


@pytest.fixture
def few_held_out(monkeypatch):
    """Recipes measure on 8 held-out pictures where a user's run takes hundreds."""
    held_out = importlib.import_module("shared.held_out")
    load_part = held_out.load_part

    def load_few(source, split, size, fields, count, *options):
        return load_part(source, split, size, fields, min(count, 8), *options)

    monkeypatch.setattr(held_out, "load_part", load_few)


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    """A preset of an untrained tokenizer: 32 pixels, 8 x 8 tokens of 16 codes."""
    tokenizer = keras_regvq.models.ImageTokenizer(
        32,
        keras_regvq.quantizers.VectorQuantizer(16, 8),
        base_channels=8,
        channel_multipliers=(1, 2, 2),
        num_res_blocks=1,
        attention_resolutions=(),
        latent_channels=8,
    )
    path = str(tmp_path_factory.mktemp("presets") / "tokenizer")
    tokenizer.save_to_preset(path)
    return path


@pytest.fixture(scope="session")
def painter(tokenizer, tmp_path_factory):
    """A preset of an untrained TextToImage of scenes."""
    captions = keras_regvq.data.scenes(64, size=32)["captions"]
    encoder = keras_regvq.models.VocabularyEncoder.from_captions(captions)
    prior = keras_regvq.models.DiffusionPrior(
        16,
        8,
        channels=8,
        channel_multipliers=(1,),
        attention_levels=(),
        num_res_blocks=1,
        num_heads=2,
        condition=encoder.condition(num_layers=1),
        condition_dropout=0.1,
    )
    model = keras_regvq.models.TextToImage(keras_regvq.from_preset(tokenizer), prior, encoder)
    path = str(tmp_path_factory.mktemp("presets") / "painter")
    model.save_to_preset(path)
    return path


@pytest.fixture(scope="session")
def map_painter(tokenizer, tmp_path_factory):
    """A preset of an untrained SemanticToImage of scenes."""
    condition = keras_regvq.models.LabelMapCondition(len(keras_regvq.data.SCENE_CLASSES), 32, 4)
    prior = keras_regvq.models.AutoregressivePrior(16, 8, 1, 2, 16, condition)
    model = keras_regvq.models.SemanticToImage(keras_regvq.from_preset(tokenizer), prior)
    path = str(tmp_path_factory.mktemp("presets") / "map_painter")
    model.save_to_preset(path)
    return path
