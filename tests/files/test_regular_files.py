"""Only regular files are opened, and their names can be printed."""

import os
import socket

import pytest

from keras_regvq.files.regular_files import open_regular, shown_name


def test_a_file_and_a_link_to_it_are_opened(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        with open_regular(tmp_path / name) as file:
            assert file.read() == b"content"


def test_pipes_sockets_devices_and_folders_are_not_opened_but_named(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")  # opening it to read would wait for ever
    (tmp_path / "link.png").symlink_to("pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "folder.png").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.png"))
        for name in ("pipe.png", "link.png", "zero.png", "folder.png", "s.png"):
            with pytest.raises(OSError, match=rf"not a regular file: '.*{name}'"):
                open_regular(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="nothing.png"):
        open_regular(tmp_path / "nothing.png")


def test_a_name_that_is_no_utf_8_or_would_steer_a_terminal_is_shown_escaped():
    assert shown_name(os.fsdecode(b"a\xff.png")) == "a\\xff.png"
    assert shown_name("a\x1b[2J\n.png") == "a\\x1b[2J\\n.png"
    assert shown_name("Müller 1.png") == "Müller 1.png"
