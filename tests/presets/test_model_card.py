"""README.md of a preset: what it says, that its code runs, and whose file it is."""

import os
import re

import numpy as np
import pytest
import yaml

import keras_regvq
from keras_regvq import models, quantizers
from keras_regvq.files.model_card import MARK, is_own_card, with_handle
from keras_regvq.files.replacing import replacing_directory
from keras_regvq.presets import BUILTIN_DIRECTORY, builtin_presets
from tests.models.priors.tiny_diffusion import make_diffusion_prior
from tests.models.priors.tiny_prior import (
    CODES,
    make_image_tokenizer,
    make_label_tokenizer,
    make_map_prior,
    make_prior,
)
from tests.presets.test_preset_saving import make_tokenizer


def make_text_to_image():
    encoder = models.VocabularyEncoder(["a", "tree", "on", "the", "grass"], 8)
    condition = encoder.condition(num_layers=1)
    sizes = {"channel_multipliers": (1,), "attention_levels": (), "num_timesteps": 25}
    prior = make_diffusion_prior(condition=condition, **sizes)
    return models.TextToImage(make_image_tokenizer(), prior, encoder)


MODELS = {
    "tokenizer": (make_image_tokenizer, "image-feature-extraction"),
    "label map tokenizer": (make_label_tokenizer, None),
    "from maps": (
        lambda: models.SemanticToImage(make_image_tokenizer(), make_map_prior(num_layers=1)),
        "image-to-image",
    ),
    "from captions": (make_text_to_image, "text-to-image"),
    "prior": (lambda: make_prior(num_layers=1), None),
    "prior with a condition": (lambda: make_map_prior(num_layers=1), None),
}
TRAINED = [
    name for name in builtin_presets() if (BUILTIN_DIRECTORY / name / "model.weights.h5").is_file()
]


def read(folder):
    return (folder / "README.md").read_text()


def front_matter(text):
    return yaml.safe_load(text.split("---\n")[1])


@pytest.mark.parametrize("kind", MODELS)
def test_a_card_says_what_the_model_is_and_its_code_runs(tmp_path, monkeypatch, kind):
    make, tag = MODELS[kind]
    model = make()
    model.save_to_preset(tmp_path / "preset")
    text = read(tmp_path / "preset")
    matter = front_matter(text)
    assert matter["library_name"] == "keras_regvq" and "keras" in matter["tags"]
    assert matter.get("pipeline_tag") == tag and "license" not in matter
    assert f"| Class | `{type(model).__name__}` |" in text
    weights = sum(int(np.prod(weight.shape)) for weight in model.weights)
    assert f"| Parameters | {weights:,} |" in text
    names, (code,) = {}, re.findall(r"```python\n(.*?)```", text, re.S)
    monkeypatch.chdir(tmp_path)
    exec(code, names)
    assert any(isinstance(value, type(model)) for value in names.values())
    made = {name: names[name].shape for name in ("images", "decoded", "tokens") if name in names}
    grids = {"images": (1, 16, 24, 3), "decoded": (1, 16, 24, 3)}
    assert all(shape == grids.get(name, shape) for name, shape in made.items())


def test_a_tokenizers_sizes_are_on_its_card(tmp_path):
    make_image_tokenizer().save_to_preset(tmp_path)
    text = read(tmp_path)
    # 4 x 6 tokens of log2(11) = 3.459 bits are 10.4 bytes.
    for line in (
        "| Images | 16 x 24 pixels, channels: 3 |",
        "| Tokens of an image | 4 x 6, 11 bytes |",
        f"| Codebook | {CODES} codes of width 8 |",
        "| Quantizer | `VectorQuantizer` |",
    ):
        assert line in text
    assert "Condition" not in text


def test_what_is_known_of_the_training_is_on_the_card(tmp_path):
    card = {
        "description": "Small pictures.",
        "data": "a folder\nof pictures",
        "data_license": "CC-BY-4.0",
        "license": "apache-2.0",
        "command": "python train.py --steps 5",
        "results": {"PSNR | dB": 21.23456, "images": 1234, "seen": "all", "usage": np.float32(0.5)},
    }
    make_tokenizer().save_to_preset(tmp_path, card=card)
    text = read(tmp_path)
    assert front_matter(text)["license"] == "apache-2.0"
    for part in (
        "\n\nSmall pictures.\n\n",
        "* **Data:** a folder of pictures\n",
        "* **Licence of the data:** CC-BY-4.0\n",
        "```bash\npython train.py --steps 5\n```",
        "| PSNR \\| dB | 21.23 |\n| images | 1,234 |\n| seen | all |\n| usage | 0.5 |",
    ):
        assert part in text


def test_a_licence_in_words_is_no_identifier(tmp_path):
    make_tokenizer().save_to_preset(tmp_path, card={"license": "as: the pictures' own\n- all"})
    text = read(tmp_path)
    assert "license" not in front_matter(text)
    assert "* **Licence of the weights:** as: the pictures' own - all\n" in text


@pytest.mark.parametrize(
    "card",
    [
        {"licence": "apache-2.0"}, {"data": 5}, {"data": " "}, {"results": {}}, {"results": "good"},
        {"results": {"psnr": None}}, {"results": {3: 4}}, ["data"], "data",
    ],
)  # fmt: skip
def test_another_entry_is_refused_and_nothing_written(tmp_path, card):
    model = make_tokenizer()
    with pytest.raises(ValueError, match="`card`"):
        model.save_to_preset(tmp_path / "preset", card=card)
    assert not os.listdir(tmp_path)
    model.save_to_preset(tmp_path / "preset", card={"data": None})
    with pytest.raises(ValueError, match="`card`"):
        model.write_card(tmp_path / "preset", card)


def test_saving_again_replaces_the_card_and_keeps_one_of_the_users_own(tmp_path):
    model = make_tokenizer()
    for data in ("old", "new"):
        model.save_to_preset(tmp_path, card={"data": data})
        assert f"* **Data:** {data}\n" in read(tmp_path)
    claimed = read(tmp_path).replace(MARK + "\n", "")
    for own in (claimed, "mine", f"{MARK}\n", f"---\nmine: 1\n{MARK}\n---\n", "", "---"):
        (tmp_path / "README.md").write_text(own)
        model.save_to_preset(tmp_path, card={"data": "newest"})
        model.write_card(tmp_path, {"data": "newest"})
        assert read(tmp_path) == own
    assert set(os.listdir(tmp_path)) == {
        "README.md", "config.json", "metadata.json", "model.weights.h5",
    }  # fmt: skip


def test_a_card_is_known_whatever_ends_its_lines(tmp_path):
    make_tokenizer().save_to_preset(tmp_path)
    path = tmp_path / "README.md"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert is_own_card(path)
    path.write_bytes(b"---\n\xff\xfe")
    assert not is_own_card(path)


def test_a_card_can_be_written_anew_without_the_weights(tmp_path):
    model = make_tokenizer()
    model.save_to_preset(tmp_path, card={"data": "scenes"})
    before = (tmp_path / "model.weights.h5").stat().st_mtime_ns
    model.write_card(tmp_path, {"data": "scenes", "results": {"psnr": 21.5}})
    assert "| psnr | 21.5 |" in read(tmp_path)
    assert (tmp_path / "model.weights.h5").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="`directory`.*nowhere.*config.json"):
        model.write_card(tmp_path / "nowhere")


def test_a_name_with_quotes_stays_one_string(tmp_path):
    make_tokenizer().save_to_preset(tmp_path / 'a "b"')
    assert 'from_preset("a \\"b\\"")' in read(tmp_path / 'a "b"')


def test_a_folder_that_is_still_temporary_is_called_by_its_name_to_be(tmp_path):
    with replacing_directory(tmp_path / "mine") as part:
        make_tokenizer().save_to_preset(part)
    assert 'from_preset("mine")' in read(tmp_path / "mine")


def test_only_the_line_that_loads_gets_the_handle(tmp_path):
    make_tokenizer().save_to_preset(tmp_path / "preset")
    text = read(tmp_path / "preset")
    changed = with_handle(text, r"hf://a/b\1")
    lines = [new for old, new in zip(*(t.split("\n") for t in (text, changed)), strict=True)
             if old != new]  # fmt: skip
    assert lines == [
        r'tokenizer = keras_regvq.from_preset("hf://a/b\1")  # or the path of its folder'
    ]


@pytest.mark.parametrize("name", TRAINED)
def test_a_builtin_preset_with_weights_has_a_card_of_its_sizes(name):
    folder = BUILTIN_DIRECTORY / name
    text, model = read(folder), keras_regvq.from_preset(name)
    assert not is_own_card(folder / "README.md")  # numbers were added by hand
    assert front_matter(text)["library_name"] == "keras_regvq"
    assert f'keras_regvq.from_preset("{name}")' in text and "recipes/" in text
    assert f"{model.count_params():,}" in text
    tokenizer = getattr(model, "tokenizer", model)
    assert isinstance(tokenizer.quantizer, quantizers.Quantizer)
    assert f"{tokenizer.codebook_size:,} codes" in text
    assert "icence" in text


def test_a_folder_is_not_a_card(tmp_path):
    (tmp_path / "README.md").mkdir()
    make_tokenizer().save_to_preset(tmp_path)
    assert (tmp_path / "README.md").is_dir() and not is_own_card(tmp_path / "README.md")
