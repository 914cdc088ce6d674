"""What the page's server answers, without a browser."""

import base64
import io
import threading
import time
import urllib.request

import numpy as np
import pytest
from PIL import Image

import keras_regvq
from keras_regvq.__main__ import main
from keras_regvq.demo import images, server, studio
from tests.models.priors.tiny_prior import CLASSES, CODES, GRID, IMAGE, random_images


def pixels(url):
    assert url.startswith("data:image/png;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))))


def png(image):
    file = io.BytesIO()
    Image.fromarray(images.as_bytes(image)).save(file, "PNG")
    return file.getvalue()


def test_it_says_what_there_is(ask, presets):
    status, facts = ask("/api/describe")
    assert status == 200
    assert [one["tab"] for one in facts["presets"]] == ["draw", "words", "tokens"]
    _, facts = ask("/api/maps", {"preset": presets["draw"]})
    assert facts["size"] == list(IMAGE) and len(facts["map"]) == IMAGE[0] * IMAGE[1]
    assert len(facts["palette"]) == len(facts["names"]) == CLASSES
    _, words = ask("/api/vocabulary", {"preset": presets["words"]})
    assert {"red", "boat", "night"} <= set(words)


def test_a_map_becomes_pictures_and_a_change_changes_what_it_covers(ask, presets):
    labels = np.zeros(IMAGE, int)
    labels[8:] = 1
    question = {"preset": presets["draw"], "labels": labels.ravel().tolist(), "seed": 2}
    status, first = ask("/api/paint", question)
    assert status == 200 and len(first["pictures"]) == 4
    assert pixels(first["pictures"][0]).shape == (*IMAGE, 3)
    assert ask("/api/paint", question)[1]["pictures"] == first["pictures"]

    changed = np.zeros(IMAGE, int)
    changed[:4, :8] = 1
    labels[:4, :8] = 2
    question |= {"labels": labels.ravel().tolist(), "tokens": first["tokens"], "seed": 3}
    question["changed"] = changed.ravel().tolist()
    status, second = ask("/api/paint", question)
    before, after = (np.array(answer["tokens"]) for answer in (first, second))
    assert status == 200 and before.shape == after.shape == (4, *GRID)
    moved = (before != after).any(axis=0)
    assert moved[:1, :2].any() and not moved[1:].any() and not moved[:, 2:].any()


def test_a_caption_becomes_pictures_step_by_step(ask, presets):
    question = {"preset": presets["words"], "prompt": "a red boat", "steps": 4, "seed": 1}
    status, lines = ask("/api/write", question)
    assert status == 200 and [line["done"] for line in lines] == [1, 2, 3, 4]
    model = keras_regvq.from_preset(presets["words"])
    expected = model.generate(["a red boat"] * 4, num_steps=4, guidance_scale=4.0, seed=1)
    shown = np.stack([pixels(url) for url in lines[-1]["pictures"]])
    assert np.abs(shown - 255.0 * expected).max() < 2


def test_a_picture_shows_what_its_tokens_keep(ask, presets):
    image = images.as_bytes(random_images(1)[0])
    status, found = ask(f"/api/look?preset={presets['tokens']}", png(image))
    tokenizer = keras_regvq.from_preset(presets["tokens"])
    assert status == 200 and found["codes"] == CODES
    np.testing.assert_array_equal(pixels(found["picture"]), image)
    np.testing.assert_array_equal(found["tokens"], tokenizer.encode(image[None])[0])
    kept = pixels(found["kept"])
    assert np.abs(kept - 255.0 * tokenizer.reconstruct(image[None])[0]).max() < 1
    error = ((kept.astype(float) - image) ** 2).mean()
    assert found["decibels"] == pytest.approx(10 * np.log10(255**2 / error))
    assert found["bytes"] == int(np.ceil(24 * np.log2(CODES) / 8))

    tokens = np.array(found["tokens"])
    tokens[0, 0] = (tokens[0, 0] + 1) % CODES
    _, changed = ask("/api/decode", {"preset": presets["tokens"], "tokens": tokens.tolist()})
    assert (pixels(changed["kept"]) != kept).any()
    _, book = ask("/api/codebook", {"preset": presets["tokens"]})
    assert pixels(book["sheet"]).shape == (4, 32 * 4, 3) and book["patch"] == 4


WRONG = {
    "an unknown preset": ("/api/maps", {"preset": "nope"}, "`preset`"),
    "the other kind of preset": ("/api/maps", {"preset": "words"}, "`preset`"),
    "too few pixels": ("/api/paint", {"preset": "draw", "labels": [0, 1]}, "16 x 24 whole numbers"),
    "an unknown label": (
        "/api/paint",
        {"preset": "draw", "labels": [99] * IMAGE[0] * IMAGE[1]},
        "label 99",
    ),
    "a word for a number": (
        "/api/paint",
        {"preset": "draw", "labels": [0] * IMAGE[0] * IMAGE[1], "temperature": "hot"},
        "`temperature`",
    ),
    "an unknown setting": (
        "/api/paint",
        {"preset": "draw", "labels": [], "colour": 3},
        "not known",
    ),
    "no JSON": ("/api/paint", b"{", "could not be read"),
    "a list": ("/api/paint", [1], "could not be read"),
    "no picture": ("/api/look?preset=TOKENS", b"hello", "This file is not an image"),
    "nothing": ("/api/look?preset=TOKENS", b"", "a picture file"),
    "a torn grid": ("/api/decode", {"preset": "tokens", "tokens": [[1], [2, 3]]}, "`tokens`"),
    "tokens that are none": (
        "/api/decode",
        {"preset": "tokens", "tokens": [[99] * 6] * 4},
        "tokens",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_in_a_sentence(ask, presets, name):
    path, question, said = WRONG[name]
    path = path.replace("TOKENS", presets["tokens"])
    if isinstance(question, dict):
        question = {**question, "preset": presets.get(question["preset"], question["preset"])}
    status, answer = ask(path, question)
    assert status == 400 and said in answer["error"]
    assert "Traceback" not in answer["error"] and "\n" not in answer["error"]


def test_wrong_captions_are_said_while_it_streams(ask, presets):
    for question, said in (({"prompt": " "}, "`prompt`"), ({"prompt": "a", "steps": 9999}, "100")):
        _, lines = ask("/api/write", {"preset": presets["words"], **question})
        assert len(lines) == 1 and said in lines[0]["error"]


def test_only_the_pages_own_files_are_served_and_nobody_else_is_asked(address):
    with urllib.request.urlopen(address) as response:
        assert "default-src 'self'" in response.headers["Content-Security-Policy"]
        page = response.read().decode()
    assert "http://" not in page and "https://" not in page
    for path in ("/server.py", "/..%2fserver.py", "/nothing"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(address + path)


def test_many_wait_in_a_queue_and_too_many_are_sent_away(ask, presets, monkeypatch):
    monkeypatch.setattr(server, "MOST_WAITING", 3)
    held, go_on = threading.Event(), threading.Event()
    question, answers = {"preset": presets["tokens"], "tokens": [[0] * 6] * 4}, []
    # The routes have bound their methods already: these ask for a tokenizer, which waits.
    monkeypatch.setattr(studio.Studio, "tokenizer", _waiting(held, go_on))
    threads = [
        threading.Thread(target=lambda: answers.append(ask("/api/decode", question)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    assert held.wait(60)
    time.sleep(0.5)  # until all three have come
    status, answer = ask("/api/decode", question)
    go_on.set()
    for thread in threads:
        thread.join(60)
    assert status == 503 and "waiting already" in answer["error"]
    assert [status for status, _ in answers] == [200] * 3


def _waiting(held, go_on):
    tokenizer = studio.Studio.tokenizer

    def wait(self, name):
        held.set()
        assert go_on.wait(60)
        return tokenizer(self, name)

    return wait


def test_a_preset_of_another_kind_is_refused_before_the_page_opens():
    with pytest.raises(SystemExit, match=r"\Aerror: [^\n]*nowhere[^\n]*\Z"):
        main(["demo", "--preset", "nowhere/at_all"])
