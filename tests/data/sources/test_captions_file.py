"""Captions in files of every usual kind, and beside their images."""

import json

import pytest

from keras_regvq.data.every_caption import every_caption
from tests.data.picture_folders import flat, read_all, write


@pytest.fixture
def folder(tmp_path):
    for value, name in enumerate(("train/0.jpg", "train/sub/1.jpg", "test/2.jpg")):
        write(tmp_path / name, flat(60 * value))
    return tmp_path


def captions(folder, split="train", **options):
    """dict of an image's number and its caption."""
    fields = ("images", "captions")
    examples = read_all(f"folder:{folder}", split, fields=fields, **options)
    return {round(int(e["images"][0, 0, 0]) / 60): e["captions"].decode() for e in examples}


def lines(*entries):
    return "\n".join(json.dumps(entry) for entry in entries)


def test_texts_beside_images_have_a_caption_a_line(folder):
    (folder / "train/0.txt").write_text("a cat\n\n  a grey cat  \n")
    (folder / "train/sub/1.txt").write_text("ein Hündchen", encoding="utf-8-sig")
    drawn = {captions(folder, shuffle=True, seed=seed)[0] for seed in range(8)}
    assert drawn == {"a cat", "a grey cat"}
    assert captions(folder)[1] == "ein Hündchen"


def test_every_caption_of_every_image_of_a_split_is_listed(folder):
    (folder / "train/0.txt").write_text("a cat\n\n  a grey cat  \n")
    (folder / "train/sub/1.txt").write_text("a dog\n")
    (folder / "test/2.txt").write_text("a boat\n")
    found = every_caption(f"folder:{folder}", "train", 16)
    assert sorted(found) == ["a cat", "a dog", "a grey cat"]
    assert len(every_caption(f"folder:{folder}", "train", 16, num_examples=1)) in (1, 2)


def test_a_line_beside_an_image_that_is_no_utf_8_is_named_and_the_others_are_read(folder):
    (folder / "train/0.txt").write_bytes(b"caf\xe9\na cat\n")
    (folder / "train/sub/1.txt").write_bytes("chat café".encode("latin-1"))
    with pytest.warns(UserWarning) as caught:
        assert captions(folder) == {0: "a cat"}
    message = str(caught[0].message)
    assert "2 of the captions that cannot be read (" in message
    assert "0.txt line 1" in message and "1.txt line 1" in message
    assert "1 without a caption (sub/1.jpg)" in message


@pytest.mark.parametrize("place", ["train", "."])
def test_metadata_of_hugging_face_is_read(folder, place):
    before = "train/" if place == "." else ""
    entries = (
        {"file_name": f"{before}0.jpg", "text": "a cat", "label": 3},
        {"file_name": f"./{before}sub/1.jpg", "captions": ["a dog"]},
    )
    (folder / place / "metadata.jsonl").write_text(lines(*entries))
    assert captions(folder) == {0: "a cat", 1: "a dog"}


def test_metadata_in_a_table_is_read(folder):
    table = 'file_name,text\n0.jpg,"a cat, grey"\nsub/1.jpg,"two\nlines"\nx.jpg\n'
    (folder / "train/metadata.csv").write_text(table)
    with pytest.warns(UserWarning, match="1 of the captions.*metadata.csv line 5"):
        assert captions(folder) == {0: "a cat, grey", 1: "two\nlines"}


def test_names_are_the_same_with_composed_letters_and_without(folder):
    write(folder / "train/e\u0301.jpg", flat(180))
    entries = {"file_name": "\u00e9.jpg", "text": "a plane"}, {"file_name": "0.jpg", "text": "a"}
    (folder / "train/metadata.jsonl").write_text(lines(*entries))
    with pytest.warns(UserWarning, match="without a caption"):
        assert captions(folder) == {0: "a", 3: "a plane"}


def test_captions_of_coco_are_read(folder):
    content = {
        "images": [{"id": 7, "file_name": "0.jpg"}, {"id": 8, "file_name": "1.jpg"}],
        "annotations": [
            {"image_id": 7, "caption": "a cat"},
            {"image_id": 8, "caption": "a dog"},
            {"image_id": 9, "caption": "of nothing"},
            "no annotation",
        ],
    }
    (folder / "annotations").mkdir()
    (folder / "annotations/captions_train.json").write_text(json.dumps(content))
    (folder / "annotations/captions_test.json").write_text("[" * 100_000)
    with pytest.warns(UserWarning, match="2 of the captions.*captions_train.json annotation 3"):
        assert captions(folder) == {0: "a cat", 1: "a dog"}


def test_what_lies_nearer_counts(folder):
    (folder / "train/captions.jsonl").write_text(lines({"file": "0", "caption": "from lines"}))
    entries = ({"file_name": "0.jpg", "text": "from metadata"}, {"file_name": "1.jpg", "text": "1"})
    (folder / "train/metadata.jsonl").write_text(lines(*entries))
    (folder / "train/0.txt").write_text("from a text")
    assert captions(folder) == {0: "from lines", 1: "1"}


def test_a_text_that_is_a_pipe_is_not_waited_for(folder):
    import os

    os.mkfifo(folder / "train/0.txt")
    (folder / "train/sub/1.txt").write_text("a dog")
    with pytest.warns(UserWarning, match=r"1 without a caption \(0.jpg\)"):
        assert captions(folder) == {1: "a dog"}


def test_without_any_captions_the_error_says_what_is_missing(folder):
    with pytest.raises(ValueError, match="without captions.jsonl.*a text beside each image"):
        captions(folder)
