"""The script that tries damaged pictures tries them in folders, and finds what goes wrong."""

import pytest
from PIL import Image

from benchmarks.robustness import fuzz_images
from benchmarks.robustness.damaged_pictures import damaged_picture
from keras_regvq.data import decoding as pictures


def test_each_kind_of_case_is_read_or_refused_by_name(tmp_path):
    maker = fuzz_images.CaseMaker(tmp_path, {"eps": b"%!PS-Adobe-3.0 EPSF-3.0\n", "empty": b""})
    outcomes = set()
    for number in range(12):
        path = maker(number)
        try:
            fuzz_images.read(path)
            outcomes.add("read")
        except (ValueError, OSError) as error:
            assert path.name in str(error)
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_what_stops_a_folder_is_found(tmp_path, monkeypatch):
    path = fuzz_images.CaseMaker(tmp_path, {"empty": b""})(0)
    monkeypatch.setattr(pictures, "_MODES", {})  # nothing can be converted
    with pytest.raises(RuntimeError, match="it stops its folder"):
        fuzz_images.read(path)


def test_the_same_number_is_the_same_damaged_picture():
    assert damaged_picture(5) == damaged_picture(5) != damaged_picture(6)
    assert Image.MAX_IMAGE_PIXELS is not None  # the script leaves Pillow as it is
