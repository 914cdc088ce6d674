"""Picture folders in which something is wrong: what is skipped, warned of or refused."""

import warnings

import numpy as np
import pytest

from keras_regvq.data import load
from tests.data.picture_folders import flat, read_all, write


def test_bad_images_are_skipped_with_one_warning_that_counts_and_names_them(split_folder):
    images, labels = split_folder / "test" / "images", split_folder / "test" / "labels"
    zeros = np.zeros((32, 32), np.uint8)
    for name in ("good", "plain", "colour", "other", "tiny"):
        write(images / f"{name}.png", flat(9) if name != "tiny" else flat(9, 7, 40))
    for name in ("good", "tiny"):
        write(labels / f"{name}.png", zeros)
    write(labels / "colour.png", flat(1))
    write(labels / "other.png", zeros[:16])
    (images / "text.jpg").write_text("this is no picture")
    (images / "empty.png").write_bytes(b"")
    (images / "notes.txt").write_text("not even named like one")
    (images / "._good.png").write_bytes(b"resource fork")
    with pytest.warns(UserWarning) as caught:
        dataset = load(f"folder:{split_folder}", "test", 32, 1, ("images", "labels"))
    assert len(caught) == 1 and caught[0].filename == __file__
    message = str(caught[0].message)
    for part in (
        "2 unreadable (",
        "text.jpg",
        "empty.png",
        "1 smaller than 8 pixels (tiny.png)",
        "1 without a label map (plain.png)",
        "1 whose label map is not one channel of ids (colour.png)",
        "1 whose label map has another size (other.png)",
    ):
        assert part in message, message
    (batch,) = dataset.as_numpy_iterator()
    assert len(dataset) == 1 and (batch["images"] == 9).all()


def test_min_size_decides_which_images_are_too_small(split_folder):
    for side in (4, 10, 20):
        write(split_folder / "test" / "images" / f"{side}.png", flat(side, side, side))
    with pytest.warns(UserWarning, match=r"1 smaller than 8 pixels \(4.png\)"):
        assert len(read_all(f"folder:{split_folder}")) == 2
    with pytest.warns(UserWarning, match="2 smaller than 20 pixels"):
        assert len(read_all(f"folder:{split_folder}", min_size=20)) == 1


def test_an_image_without_a_caption_is_skipped_only_where_captions_are_asked_for(split_folder):
    for name in "ab":
        write(split_folder / "test" / "images" / f"{name}.png", flat(ord(name)))
    (split_folder / "test" / "captions.jsonl").write_text('{"file": "a", "caption": "an a"}')
    assert len(read_all(f"folder:{split_folder}")) == 2
    with pytest.warns(UserWarning, match=r"1 without a caption \(b.png\)"):
        (example,) = read_all(f"folder:{split_folder}", fields=("captions",))
    assert example["captions"] == b"an a"


def truncate(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("cache", [True, False])
def test_an_image_that_breaks_while_decoding_is_replaced_and_warned_of_once(
    split_folder, suffix, cache
):
    noise = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
    images = split_folder / "test" / "images"
    for i in range(6):
        write(images / f"{i}.{suffix}", (noise // 2 + 20 * i).astype(np.uint8))
    for i in (1, 2):
        truncate(images / f"{i}.{suffix}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # headers are fine: nothing to say yet
        dataset = load(f"folder:{split_folder}", "test", 32, 3, cache=cache)
    with pytest.warns(UserWarning) as caught:
        passes = [np.concatenate([b["images"] for b in dataset]) for _ in range(2)]
    messages = [str(w.message) for w in caught if "cannot be decoded" in str(w.message)]
    assert len(messages) == 1 and f".{suffix}" in messages[0] and "verify=True" in messages[0]
    assert len(dataset) == 2 and passes[0].shape == (6, 32, 32, 3)
    assert len(np.unique(passes[0].mean(axis=(1, 2, 3)))) == 4  # the four good ones
    np.testing.assert_array_equal(*passes)


def test_verify_finds_broken_images_beforehand(split_folder):
    images = split_folder / "test" / "images"
    noise = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
    for name in "ab":
        write(images / f"{name}.png", noise)
    truncate(images / "b.png")
    with pytest.warns(UserWarning, match=r"1 unreadable \(b.png\)"):
        assert len(load(f"folder:{split_folder}", "test", 32, verify=True)) == 1


def test_if_no_image_can_be_decoded_the_error_says_so(split_folder):
    images = split_folder / "test" / "images"
    write(images / "a.png", np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8))
    truncate(images / "a.png")
    with pytest.warns(UserWarning, match="cannot be decoded"):
        with pytest.raises(Exception, match="None of the 1 images"):
            read_all(f"folder:{split_folder}")


def test_missing_and_empty_folders_and_unusable_ones_are_errors(tmp_path):
    with pytest.raises(ValueError, match="`source`.*nowhere.*a folder that exists"):
        load(f"folder:{tmp_path / 'nowhere'}")
    with pytest.raises(ValueError, match="`source`.*with 0 images.*usable images"):
        load(f"folder:{tmp_path}")
    (tmp_path / "1.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"`source`.*1 unreadable \(1.png\).*usable images"):
        load(f"folder:{tmp_path}")
    write(tmp_path / "2.png", flat(0))
    with pytest.raises(ValueError, match="`source`.*without a folder labels"):
        load(f"folder:{tmp_path}", fields=("labels",))
    with pytest.raises(ValueError, match="`source`.*without captions.jsonl"):
        load(f"folder:{tmp_path}", fields=("captions",))
    with pytest.raises(ValueError, match="`min_size`"):
        load(f"folder:{tmp_path}", min_size=0)


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        '{"caption": "no file"}',
        '{"file": "a", "caption": 3}',
        '{"file": "a", "captions": []}',
        '{"file": "a", "caption": " "}',
        '["a", "b"]',
        '{"file": "a", "caption": "caf\xe9"}',  # latin-1
        '{"file": "a", "caption": "half a pair: \\ud800"}',
        "[" * 100_000,
        '{"file": "a", "caption": ' + "[" * 100_000,
        '{"file": ["a"], "caption": "b"}',
        '{"file": "a\0", "captions": ["b", null]}',
        b"\xff\xfe\0",
        b'{"file": "a", "caption": "' + b"x" * 2**21,  # longer than any caption
    ],
)
def test_a_malformed_line_of_captions_is_named_and_the_others_are_read(tmp_path, line):
    write(tmp_path / "a.png", flat(0))
    good = b'{"file": "a", "caption": "fine"}'
    line = line.encode("latin-1") if isinstance(line, str) else line
    (tmp_path / "captions.jsonl").write_bytes(b"\n".join((good, line, good)))
    expected = r"1 image is taken .*1 of the captions that cannot be read \(captions.jsonl line 2\)"
    with pytest.warns(UserWarning, match=expected):
        (example,) = read_all(f"folder:{tmp_path}", "train", fields=("captions",))
    assert example["captions"] == b"fine"
