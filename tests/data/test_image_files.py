"""Opening pictures: which kinds and sizes, and how what is wrong is named."""

import os
import subprocess
import zlib

import numpy as np
import pytest
from PIL import Image

from keras_regvq.data.image_files import open_picture

EPS = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n1 0 0 setrgbcolor 0 0 32 32 rectfill\n"
    b"showpage\n%%EOF\n"
)


def png_header(width, height, depth=16):
    """A PNG that says how large it is, and holds no pixels."""

    def chunk(kind, data):
        return (
            len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
        )

    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    header = chunk(b"IHDR", size + bytes([depth, 0, 0, 0, 0]))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000"]
)
def test_usual_kinds_are_opened_whatever_they_are_called(tmp_path, kind):
    Image.new("RGB", (32, 16), (200, 10, 10)).save(tmp_path / "a.png", kind)
    with open_picture(tmp_path / "a.png") as image:
        assert image.format == kind
        assert image.convert("RGB").getpixel((16, 8))[0] > 190


@pytest.mark.parametrize("kind", ["EPS", "PDF", "WMF", "PSD", "FITS"])
def test_kinds_that_run_programs_or_are_rare_are_not_opened(tmp_path, monkeypatch, kind):
    started = []
    for name in ("Popen", "run", "call", "check_call", "check_output"):
        monkeypatch.setattr(subprocess, name, lambda *command, **_: started.append(command))
    heads = {"EPS": EPS, "PDF": b"%PDF-1.4\n", "WMF": b"\xd7\xcd\xc6\x9a" + bytes(60)}
    heads |= {"PSD": b"8BPS\0\1" + bytes(60), "FITS": b"SIMPLE  =                    T" + bytes(60)}
    (tmp_path / "x.png").write_bytes(heads[kind])
    with pytest.raises(ValueError, match="x.png is not an image in a supported format: PNG, JPEG"):
        with open_picture(tmp_path / "x.png") as image:
            image.load()
    assert not started


@pytest.mark.parametrize("side", [13_000, 60_000])
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path, side):
    (tmp_path / "bomb.png").write_bytes(png_header(side, side))
    with pytest.raises(ValueError, match=r"bomb.png cannot be read.*(too many|exceeds)"):
        with open_picture(tmp_path / "bomb.png"):
            pytest.fail("it was opened")


def test_the_number_of_pixels_is_an_option(tmp_path):
    Image.new("L", (100, 90)).save(tmp_path / "a.png")
    with open_picture(tmp_path / "a.png", max_pixels=9000) as image:
        assert image.size == (100, 90)
    with pytest.raises(ValueError, match="100 x 90 pixels are too many; max_pixels=8999 allows"):
        with open_picture(tmp_path / "a.png", max_pixels=8999):
            pytest.fail("it was opened")


def test_a_panorama_is_read_at_a_fraction_of_its_size(tmp_path):
    Image.new("L", (12_000, 9_000), 77).save(tmp_path / "wide.jpg", quality=20)
    with pytest.warns(Image.DecompressionBombWarning):  # Pillow's own, above 89 million
        with open_picture(tmp_path / "wide.jpg") as image:
            image.draft(None, (512, 512))
            assert image.size == (1500, 1125) and abs(image.getpixel((700, 500)) - 77) < 2


def test_what_decoding_raises_names_the_file(tmp_path):
    path = tmp_path / "half.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValueError, match="half.png cannot be read as a picture: "):
        with open_picture(path) as image:
            image.load()
    os.truncate(path, 0)
    with pytest.raises(ValueError, match="half.png is not an image"):
        with open_picture(path):
            pytest.fail("it was opened")


def test_a_pipe_called_png_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(OSError, match="pipe.png"):
        with open_picture(tmp_path / "pipe.png"):
            pytest.fail("it was opened")
