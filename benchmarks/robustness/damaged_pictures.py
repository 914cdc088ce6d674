"""Pictures that are damaged, or made to do harm: bytes by a number, always the same."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

_KINDS = (
    *(("PNG", mode, {}) for mode in ("RGB", "RGBA", "L", "LA", "P", "1", "I;16")),
    *(("JPEG", mode, {"progressive": p}) for mode in ("RGB", "L", "CMYK") for p in (False, True)),
    *(("TIFF", mode, {"compression": c}) for mode in ("RGB", "L", "F", "I;16", "CMYK", "P", "RGBA")
      for c in ("raw", "tiff_deflate", "tiff_lzw")),
    *(("TIFF", "RGB", {"compression": "jpeg"}), ("TIFF", "1", {"compression": "group4"})),
    *(("WEBP", mode, {"lossless": exact}) for mode in ("RGB", "RGBA") for exact in (True, False)),
    *(("GIF", "P", {}), ("GIF", "L", {}), ("BMP", "RGB", {}), ("BMP", "P", {}), ("BMP", "1", {})),
    *(("PPM", "RGB", {}), ("PPM", "L", {}), ("PPM", "1", {}), ("PPM", "I;16", {})),
    *(("AVIF", "RGB", {"speed": 10}), ("AVIF", "RGBA", {"speed": 10})),
    *(("JPEG2000", "RGB", {}), ("JPEG2000", "L", {}), ("JPEG2000", "RGBA", {})),
    *((kind, "RGB", {"save_all": True, "frames": 3})
      for kind in ("GIF", "PNG", "TIFF", "WEBP", "MPO")),
)  # fmt: skip
_SIDES = (1, 2**15, 2**16 - 1, 2**24, 2**31 - 1)


def damaged_picture(number):
    """Bytes of a picture of a random kind, damaged in a random way."""
    rng = np.random.default_rng(number)
    data = bytearray(_encode(rng, *_KINDS[rng.integers(len(_KINDS))]))
    for _ in range(rng.integers(1, 4)):
        data = _damage(rng, data)
    return bytes(data)


def _encode(rng, kind, mode, options):
    options = dict(options)
    pixels = rng.integers(
        0, 256, (int(rng.integers(16, 80)), int(rng.integers(16, 80)), 3), np.uint8
    )
    if mode == "I;16":
        picture = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    else:
        picture = Image.fromarray(pixels).convert(mode)
    if frames := options.pop("frames", 0):
        options["append_images"] = [picture.rotate(90 * i) for i in range(1, frames)]
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def _damage(rng, data):
    """One of: bits flipped, cut off, a piece removed, doubled or replaced, a field made extreme."""
    if not data:
        return data
    length, place = len(data), int(rng.integers(len(data)))
    near_start = int(rng.integers(min(length, 128)))
    way = rng.integers(7)
    if way == 0:
        for at in rng.integers(0, length, 1 + length // 500):
            data[at] ^= 1 << int(rng.integers(8))
    elif way == 1:
        del data[place:]
    elif way == 2:
        del data[place : place + int(rng.integers(1, 40))]
    elif way == 3:
        data[place:place] = data[near_start : near_start + 40]
    elif way == 4:
        data[near_start : near_start + 4] = rng.bytes(4)
    elif way == 5:
        order = "<" if rng.integers(2) else ">"
        side = _SIDES[rng.integers(len(_SIDES))]
        data[near_start : near_start + 4] = struct.pack(order + "I", side)
    else:
        data[:8] = _encode(rng, *_KINDS[rng.integers(len(_KINDS))])[:8]
    return data


def handmade_pictures():
    """dict of names and bytes of pictures that are made to do harm, or only large."""
    found = {
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\nshowpage\n%%EOF\n",
        "pdf": b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer\n<</Root 1 0 R>>\n%%EOF\n",
        "wmf": b"\xd7\xcd\xc6\x9a" + bytes(80),
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>',
        "empty": b"",
        "pickle": b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00.",
        "ppm_huge": b"P6 999999999 999999999 255\n" + bytes(100),
        "ppm_plain_huge": b"P3 30000 30000 255\n1 2 3\n",
        "ppm_no_end": b"P6 " + b"1" * 10_000_000,
        "pgm_deep": b"P5 32 32 65535\n" + bytes(2048),
        "gif_huge": b"GIF89a\xff\xff\xff\xff\xf7\0\0" + bytes(900),
        "gif_large_frame": b"GIF89a\x20\0\x20\0\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x08" + bytes(90),
        "bmp_huge": _bmp(2**30, 24, 0),
        "bmp_rle": _bmp(11_000, 8, 1) + bytes(1124),
        "tiff_loop": b"II*\0\x08\0\0\0" + struct.pack("<H", 0) + struct.pack("<I", 8),
        "tiff_tags": b"II*\0\x08\0\0\0" + struct.pack("<H", 3000)
        + b"".join(struct.pack("<HHII", tag, 2, 2**31, 8) for tag in range(256, 3256)),
        "png_bomb": _png(13_000, 13_000, 16, 0),
        "png_bits": _png(11_000, 11_000, 1, 0),
        "png_grey_16": _png(11_000, 11_000, 16, 0),
        "png_rgba": _png(11_000, 11_000, 8, 6),
        "png_rgba_16": _png(9_000, 9_000, 16, 6),
        "png_interlaced": _png(4_000, 4_000, 8, 2, interlaced=1),
        "png_text": _png(32, 32, 8, 2, _chunk(b"zTXt", b"a\0\0" + _zeros(200_000_000))),
        "png_texts": _png(32, 32, 8, 2, _chunk(b"zTXt", b"a\0\0" + _zeros(900_000)) * 200),
        "png_profile": _png(32, 32, 8, 2, _chunk(b"iCCP", b"a\0\0" + _zeros(200_000_000))),
        "png_chunks": _png(32, 32, 8, 2, _chunk(b"tEXt", b"a\0b") * 50_000),
        "webp_huge": _patched("WEBP", b"VP8X", 8, b"\xfe\x3f\0\xfe\x3f\0"),
        "jpeg_huge": _jpeg_of(65_500, {}),
        "jpeg_progressive_huge": _jpeg_of(65_500, {"progressive": True}),
        "jpeg_progressive": _jpeg_of(9_400, {"progressive": True, "subsampling": 0}),
        "jp2_huge": _patched("JPEG2000", b"ihdr", 4, struct.pack(">II", 60_000, 60_000)),
        "tiff_deflate": _saved("TIFF", "RGB", 8_000, compression="tiff_deflate"),
        "tiff_float": _saved("TIFF", "F", 6_000, compression="tiff_deflate"),
        "webp": _saved("WEBP", "RGB", 5_500, method=0),
        "avif": _saved("AVIF", "RGB", 5_500, speed=10),
        "gif": _saved("GIF", "P", 11_000),
    }  # fmt: skip
    return found


def _chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _zeros(count):
    packer = zlib.compressobj(9)
    pieces = [packer.compress(bytes(10**6)) for _ in range(count // 10**6)]
    return b"".join([*pieces, packer.compress(bytes(count % 10**6)), packer.flush()])


def _png(width, height, depth, colour, before=b"", interlaced=0):
    """A black PNG; `before` are chunks before its pixels."""
    samples = {0: 1, 2: 3, 6: 4}[colour]
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    pixels = _zeros(height * (1 + (width * samples * depth + 7) // 8))
    chunks = _chunk(b"IHDR", header) + before + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _bmp(side, depth, compression):
    fields = 200, 0, 1078, 40, side, side, 1, depth, compression, 0, 0, 0, 0, 0
    return b"BM" + struct.pack("<IIIIiiHHIIiiII", *fields)


def _saved(kind, mode, side, **options):
    file = io.BytesIO()
    Image.new(mode, (side, side)).save(file, kind, **options)
    return file.getvalue()


def _patched(kind, marker, offset, value):
    """A small picture whose header says something else after a marker."""
    file = io.BytesIO()
    Image.new("RGBA", (32, 32), (9, 9, 9, 99)).save(
        file, kind, **({"exif": b"Exif\0\0"} if kind == "WEBP" else {})
    )
    data = bytearray(file.getvalue())
    at = data.find(marker)
    if at >= 0:
        at += len(marker) + (offset if kind == "WEBP" else 0)
        data[at : at + len(value)] = value
    return bytes(data)


def _jpeg_of(side, options):
    """A small JPEG whose header says that it is large, so that most of its data is missing."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 9, 9)).save(file, "JPEG", **options)
    data = bytearray(file.getvalue())
    frame = max(data.find(b"\xff\xc0\0\x11"), data.find(b"\xff\xc2\0\x11"))
    data[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    return bytes(data)
