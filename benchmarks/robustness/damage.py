"""Ways to damage files of tensors and settings: in their bytes, and in what these mean."""

import json
import zipfile

NUMBERS = (0, 1, -1, 2, 3, 255, 2**15, 2**31 - 1, 2**31, -(2**31), 2**62, 2**63, 10**9, 10**30)
VALUES = (*NUMBERS, None, True, "", "32", 1.5, float("nan"), 1e300, [], {}, [[]], [None], ["a", 1])
WORDS = (
    (b"FloatStorage", b"HalfStorage "), (b"FloatStorage", b"DoubleStorag"),
    (b"FloatStorage", b"LongStorage\n"), (b"_rebuild_tensor_v2", b"_rebuild_parameter"),
    (b"OrderedDict", b"defaultdict"), (b"torch._utils", b"torch.nnnnnn"), (b"storage", b"module_"),
    (b"collections", b"subprocess\n"), (b"weight", b"bias\x00\x00"), (b"F32", b"F16"),
    (b"F32", b"I64"), (b"little", b"\x00" * 6), (b"conv", b"\xff\xfe\xfd\xfc"),
)  # fmt: skip
# Instructions: many of one kind, or a few that change what is on the stack.
INSTRUCTIONS = (
    b"}", b"]", b")", b"(", b"2", b"0", b"1", b"\x85", b"\x86", b"2\x86", b"a", b"e", b"s", b"u",
    b"b", b"R", b"\x81", b"\x92", b"Q", b"\x94", b"N", b"h\x00", b"q\x00", b"\x8f", b"\x90",
    b"cos\nsystem\n", b"ccollections\nOrderedDict\n", b"cbuiltins\nlist\n",
    b"\x8a\x09" + b"\xff" * 9, b"G\x7f\xf8\x00\x00\x00\x00\x00\x00", b"X\xff\xff\xff\xff",
    b"\x8d" + b"\xff" * 7 + b"\x7f",
    b"B\xff\xff\xff\x7f", b"}cos\nsystem\nb", b"}}2sb", b"\x82\x01", b"I99999999999\n",
)  # fmt: skip


def damage_bytes(data, rng):
    """Bytes with one to three faults, most of them small."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        size, place = len(data), rng.randrange(len(data) + 1)
        kind = rng.randrange(8)
        if kind == 0:
            del data[place:]
        elif kind == 1:
            data[place:place] = data[place : place + rng.randrange(1, 200)]
        elif kind == 2:
            del data[place : place + rng.randrange(1, 50)]
        elif kind == 3:
            number = rng.choice(NUMBERS) % 2**64
            data[place : place + 8] = number.to_bytes(8, "little")
        elif kind == 4:
            old, new = rng.choice(WORDS)
            found = bytes(data).find(old, place if rng.random() < 0.5 else 0)
            if found >= 0:
                data[found : found + len(old)] = new
        elif size:
            for _ in range(rng.choice((1, 4, 30))):
                data[rng.randrange(size)] ^= 1 << rng.randrange(8)
        if not data:
            return b""
    return bytes(data)


def damage_pickle(data, rng):
    """A pickle with other instructions, or other numbers in it."""
    place, kind = rng.randrange(len(data)), rng.randrange(3)
    if kind == 0:
        times = rng.choice((1, 1, 2, 60, 10**5))
        return data[:place] + rng.choice(INSTRUCTIONS) * times + data[place:]
    if kind == 1:  # a number where there is one, such as a size, a stride or an offset
        number = rng.choice(NUMBERS).to_bytes(16, "little", signed=True)
        places = [i for i in range(len(data) - 1) if data[i : i + 1] == b"K"]
        place = rng.choice(places) if places else place
        return data[:place] + b"\x8a\x10" + number + data[place + 2 :]
    return damage_bytes(data, rng)


def damage_zip(data, rng, path):
    """A zip file: as bytes, or written again with damaged or repeated entries."""
    if rng.random() < 0.3:
        path.write_bytes(damage_bytes(data, rng))
        return
    path.write_bytes(data)
    with zipfile.ZipFile(path) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    kind, which = rng.randrange(5), rng.randrange(len(entries))
    pickles = [i for i, (name, _) in enumerate(entries) if name.endswith("data.pkl")]
    if kind < 3 and pickles:
        name, content = entries[pickles[0]]
        entries[pickles[0]] = name, damage_pickle(content, rng)
    elif kind == 3:
        name, content = entries[which]
        entries[which] = name, rng.choice((b"", damage_bytes(content or b"0", rng), b"\xff" * 999))
    else:
        entries.insert(0, entries.pop(which))
        entries = entries[: rng.randrange(1, len(entries) + 1)]
    compression = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries:
            archive.writestr(name, content)


def damage_values(value, rng):
    """A JSON or YAML value, one value in it replaced."""
    holders = []

    def collect(inside):
        if isinstance(inside, (dict, list)):
            for key in list(inside) if isinstance(inside, dict) else range(len(inside)):
                holders.append((inside, key))
                collect(inside[key])

    collect(value)
    inside, key = rng.choice(holders)
    kind = rng.randrange(6)
    if kind == 0 and isinstance(inside, dict):
        del inside[key]
    elif kind == 1:
        nested = []
        for _ in range(rng.choice((5, 900))):
            nested = [nested]
        inside[key] = nested
    else:
        inside[key] = rng.choice(VALUES)
    return value


def damage_text(text, rng, load, dump):
    if rng.random() < 0.3:
        return damage_bytes(text.encode(), rng)
    return dump(damage_values(load(text), rng)).encode()


def damage_safetensors(data, rng):
    if rng.random() < 0.4:
        return damage_bytes(data, rng)
    length = int.from_bytes(data[:8], "little")
    header = damage_text(data[8 : 8 + length].decode(), rng, json.loads, json.dumps)
    size = len(header) if rng.random() < 0.9 else rng.choice(NUMBERS) % 2**64
    return size.to_bytes(8, "little") + header + data[8 + length :]
