"""Small folders of the layout of the npm package emoji-datasource-google."""

import json

import numpy as np
import pytest
from PIL import Image

from keras_regvq.data import load
from keras_regvq.data.sources.emoji import EmojiExamples


@pytest.fixture
def package(tmp_path):
    pictures, entries = tmp_path / "img/google/64", []
    pictures.mkdir(parents=True)

    def draw(name):
        image = np.zeros((64, 64, 4), np.uint8)
        image[16:48, 16:48] = (200, 100, 50, 255)
        Image.fromarray(image).save(pictures / name)
        return name

    for number in range(40):
        code = f"1F{number:03d}"
        tones = {tone: {"image": draw(f"{code.lower()}-{tone.lower()}.png")}
                 for tone in ("1F3FB", "1F3FF")}  # fmt: skip
        entry = {"unified": code, "name": f"FACE {number}", "short_name": f"face_{number}"}
        entries.append({**entry, "image": draw(f"{code.lower()}.png"), "skin_variations": tones})
    entries.append({"unified": "2764", "name": None, "short_name": "red_heart",
                    "image": draw("2764.png")})  # fmt: skip
    draw("unlisted.png")
    (tmp_path / "emoji.json").write_text(json.dumps(entries))
    return tmp_path


def captions(package, split):
    data = load(f"emoji:{package}", split, batch_size=None, fields=("captions",), shuffle=False)
    return [example["captions"].decode() for example in data.as_numpy_iterator()]


def test_captions_are_names_and_skin_tones(package):
    everything = captions(package, "train") + captions(package, "test")
    assert len(everything) == 121  # what the index does not list is left out
    assert {"face 7", "face 7, light skin tone", "face 7, dark skin tone"} <= set(everything)
    assert "red heart" in everything


def test_all_variants_of_an_emoji_are_in_one_split(package):
    bases = [
        {text.split(",")[0] for text in captions(package, split)} for split in ("train", "test")
    ]
    assert bases[0] and bases[1] and not bases[0] & bases[1]
    counts = np.unique([text.split(",")[0] for text in captions(package, "test")
                        if text != "red heart"], return_counts=True)[1]  # fmt: skip
    assert (counts == 3).all()


def test_what_is_transparent_is_white(package):
    example = EmojiExamples(package, "train", 64, ("images",)).read(0, ("images",))
    assert (example["images"][0, 0] == 255).all()
    assert example["images"][32, 32].tolist() == [200, 100, 50]


def test_another_folder_is_refused(package, tmp_path):
    with pytest.raises(ValueError, match="an unpacked emoji-datasource package"):
        load(f"emoji:{package / 'img'}")
    (package / "emoji.json").write_text('{"a": 1}')
    with pytest.raises(ValueError, match="emoji.json"):
        load(f"emoji:{package}")
