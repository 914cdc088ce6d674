"""JSON and YAML that are damaged, hostile or something else are ValueErrors that name the file."""

import os
import time

import pytest

from keras_regvq.files.settings_files import read_json, read_yaml

BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{after}: &{after} [{', '.join(['*' + before] * 10)}]\n"
    for before, after in zip("abcdefghi", "bcdefghij", strict=True)
)
MERGES = "a: &a {k: 1}\n" + "".join(
    f"{after}: &{after} {{<<: [{', '.join(['*' + before] * 10)}]}}\n"
    for before, after in zip("abcdefghi", "bcdefghij", strict=True)
)


def test_plain_files_are_read(tmp_path):
    (tmp_path / "a.json").write_text('{"sizes": [1, 2.5, null], "name": "ä"}', "utf-8")
    assert read_json(tmp_path / "a.json") == {"sizes": [1, 2.5, None], "name": "ä"}
    (tmp_path / "a.yaml").write_text("base: &b {ch: 1}\nother: {<<: *b, n: [1, 2]}\n")
    assert read_yaml(tmp_path / "a.yaml") == {"base": {"ch": 1}, "other": {"ch": 1, "n": [1, 2]}}


@pytest.mark.parametrize(
    "read, content",
    [
        (read_json, "["), (read_json, ""), (read_json, "[1]"), (read_json, "[" * 10**5),
        (read_json, '{"a":' * 10**5), (read_json, b"\xff\xfe{}"),
        (read_json, f'{{"a": {"9" * 5000}}}'),
        (read_yaml, "a: ["), (read_yaml, ""), (read_yaml, "- 1"), (read_yaml, "[" * 10**5),
        (read_yaml, BOMB), (read_yaml, MERGES), (read_yaml, "a: &a [*a]"), (read_yaml, b"\xff\x00"),
        (read_yaml, "a: " + "x" * 2**18), (read_yaml, "a: !!python/object/apply:os.getcwd []"),
        (read_yaml, "a: " + "9" * 5000), (read_yaml, "{[1]: 2}"), (read_yaml, "a: 2000-99-99"),
    ],
)  # fmt: skip
def test_damaged_and_hostile_files_are_named_in_no_time(tmp_path, read, content):
    path = tmp_path / "config.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    started = time.monotonic()
    with pytest.raises(ValueError, match="Argument `config`.*config.txt"):
        read(path, "config")
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("read", [read_json, read_yaml])
def test_what_is_no_file_is_named(tmp_path, read):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe", "missing"):
        with pytest.raises(ValueError, match=name):
            read(tmp_path / name)
    with pytest.raises(ValueError, match="/dev/zero"):
        read("/dev/zero")
