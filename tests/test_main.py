"""python -m keras_regvq: what it refuses, and what it says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import keras_regvq
from keras_regvq.__main__ import main as command
from keras_regvq.__main__ import parse_arguments


@pytest.fixture
def tokenizer(tmp_path):
    """A preset of an untrained tokenizer."""
    quantizer = keras_regvq.quantizers.VectorQuantizer(8, 4)
    path = tmp_path / "tokenizer"
    keras_regvq.models.ImageTokenizer(
        16, quantizer, 8, (1, 2), 1, (), 8, middle_attention=False
    ).save_to_preset(path)
    return str(path)


def contents(directory):
    return {path: path.read_bytes() for path in Path(directory).rglob("*") if path.is_file()}


def test_convert_replaces_a_directory_only_if_asked_to(tokenizer, tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    (target / "mine.txt").write_text("a note")
    for options in ([], ["--to", "taming"]):
        with pytest.raises(SystemExit, match="^error: .*target.*--overwrite"):
            command(["convert", tokenizer, str(target), *options])
    assert contents(target) == {target / "mine.txt": b"a note"}
    command(["convert", tokenizer, str(target), "--overwrite"])
    assert keras_regvq.from_preset(str(target)).codebook_size == 8
    assert (target / "mine.txt").read_text() == "a note"
    before = contents(target)
    with pytest.raises(SystemExit, match="^error: .*--overwrite"):
        command(["convert", tokenizer, str(target)])
    with pytest.raises(SystemExit, match="^error: .*the source itself"):
        command(["convert", tokenizer, tokenizer, "--overwrite"])
    assert contents(target) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nowhere"], "nowhere"),
        (["text.ckpt"], "text.ckpt"),
        (["empty"], "empty"),
        (["regvq_scenes_64", "--config", "missing.yaml"], "missing.yaml"),
        (["semantic_scenes_64"], "semantic_scenes_64, which holds a SemanticToImage"),
        (["regvq_scenes_64", "--to", "taming", "--float16"], "--float16"),
    ],
)
def test_every_failure_is_one_line(options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("text.ckpt").write_text("no checkpoint")
    Path("empty").mkdir()
    with pytest.raises(SystemExit) as caught:
        command(["convert", options[0], "target", *options[1:]])
    text = caught.value.code
    assert text.startswith("error: ") and message in text and "\n" not in text
    assert not Path("target").exists()


@pytest.mark.parametrize("error", [OSError(28, "No space left", "f"), ImportError("no onnx")])
def test_errors_of_the_system_have_no_traceback(error, tokenizer, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(keras_regvq.presets, "export", fail)
    with pytest.raises(SystemExit, match="^error: .*(f: No space left|no onnx)"):
        command(["convert", tokenizer, str(tmp_path / "target"), "--to", "diffusers"])
    assert not (tmp_path / "target").exists()


def test_wrong_numbers_name_their_option(capsys):
    for option in ("--image-size", "--num-heads", "--num-classes"):
        with pytest.raises(SystemExit):
            command(["convert", "a", "b", option, "0"])
        assert f"argument {option}: '0' is not an integer of at least 1" in capsys.readouterr().err


def test_help_imports_neither_keras_nor_tensorflow():
    code = (
        "import runpy, sys; sys.argv = ['keras_regvq', '--help']\n"
        "try: runpy.run_module('keras_regvq', run_name='__main__')\n"
        "except SystemExit: assert not {'keras', 'tensorflow'} & set(sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    shown = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert "convert" in shown.stdout


def test_every_format_can_be_asked_for():
    names = [one.name for one in keras_regvq.presets.convert.FORMATS]
    for name in ("keras", *names):
        assert parse_arguments(["convert", "a", "b", "--to", name]).to == name
    with pytest.raises(SystemExit):
        parse_arguments(["convert", "a", "b", "--to", "onnx"])
