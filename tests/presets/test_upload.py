"""upload_preset against servers on this machine, and from_preset from them."""

import os
import shutil
import sys

import huggingface_hub
import kagglesdk.kaggle_env
import numpy as np
import pytest

import keras_regvq
from keras_regvq.__main__ import main as command
from keras_regvq.files.model_card import MARK
from keras_regvq.presets import upload_preset
from tests.presets.test_preset_saving import IMAGES, make_tokenizer

URI = "hf://someone/pictures"
KAGGLE = "kaggle://someone/pictures/keras/small"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("presets") / "preset"
    make_tokenizer().save_to_preset(folder, card={"license": "apache-2.0"})
    return folder


@pytest.fixture
def preset(saved, tmp_path):
    """A preset's folder, with a file of the user's own."""
    shutil.copytree(saved, tmp_path / "preset")
    (tmp_path / "preset" / "secret.txt").write_text("mine")
    return tmp_path / "preset"


def test_what_was_uploaded_gives_the_same_tokens(hub, preset):
    upload_preset(URI, preset)
    assert set(os.listdir(hub / "someone/pictures")) == {
        "README.md", "config.json", "metadata.json", "model.weights.h5",
    }  # fmt: skip
    loaded, saved = keras_regvq.from_preset(URI), keras_regvq.from_preset(preset)
    np.testing.assert_array_equal(loaded.encode(IMAGES), saved.encode(IMAGES))


def test_the_card_that_arrives_is_the_presets_and_loads_it_from_there(hub, preset):
    upload_preset(URI, preset)
    here, there = (preset / "README.md").read_text(), hub / "someone/pictures/README.md"
    assert f'from_preset("{URI}")' in there.read_text() and URI not in here
    changed = [a != b for a, b in zip(*map(str.splitlines, (here, there.read_text())), strict=True)]
    assert sum(changed) == 1
    assert len(huggingface_hub.ModelCard.load(there).data.tags) > 1


def test_a_preset_without_a_card_gets_one(hub, preset):
    (preset / "README.md").unlink()
    upload_preset(URI, preset)
    assert f'from_preset("{URI}")' in (hub / "someone/pictures/README.md").read_text()
    assert not (preset / "README.md").exists()


def test_a_card_of_ones_own_arrives_as_it_is(hub, preset):
    (preset / "README.md").write_text("mine")
    upload_preset(URI, preset)
    assert (hub / "someone/pictures/README.md").read_text() == "mine"


def test_a_card_that_was_written_on_the_hub_stays(hub, preset):
    upload_preset(URI, preset)
    there = hub / "someone/pictures/README.md"
    there.write_text(there.read_text().replace(MARK + "\n", "") + "More.\n")
    written = there.read_text()
    upload_preset(URI, preset)
    assert there.read_text() == written
    (preset / "README.md").write_text("mine")
    upload_preset(URI, preset)
    assert there.read_text() == "mine"


def test_another_preset_takes_the_place_of_the_old_one_in_one_commit(hub, hub_server, preset):
    there = hub / "someone/pictures"
    upload_preset(URI, preset)
    for name in ("model_00000.weights.h5", "text_encoder/config.json", "notes.txt"):
        (there / name).parent.mkdir(exist_ok=True)
        (there / name).write_text("old")
    make_tokenizer(16).save_to_preset(preset)
    hub_server.requests.clear()
    upload_preset(URI, preset)
    files = {str(path.relative_to(there)) for path in there.rglob("*") if path.is_file()}
    assert files == {
        "README.md", "config.json", "metadata.json", "model.weights.h5", "notes.txt",
    }  # fmt: skip
    assert sum("/commit/" in path for path in hub_server.requests) == 1
    assert (there / "config.json").read_bytes() == (preset / "config.json").read_bytes()


def test_links_are_followed(hub, preset):
    """As huggingface_hub's cache has them."""
    (preset / "model.weights.h5").rename(preset / "blob")
    (preset / "model.weights.h5").symlink_to("blob")
    upload_preset(URI, preset)
    there = hub / "someone/pictures/model.weights.h5"
    assert there.read_bytes() == (preset / "blob").read_bytes()


def test_a_builtin_preset_can_be_uploaded(hub):
    upload_preset("hf://someone/scenes", "regvq_scenes_64_v1")
    assert keras_regvq.from_preset("hf://someone/scenes").codebook_size == 512
    with pytest.raises(ValueError, match="regvq_f4_256.*no weights"):
        upload_preset("hf://someone/random", "regvq_f4_256")


def test_what_could_not_be_loaded_is_not_uploaded(hub_server, preset):
    path = preset / "config.json"
    path.write_text(path.read_text().replace("keras_regvq>VectorQuantizer", "keras>Lambda"))
    with pytest.raises(ValueError, match="preset"):
        upload_preset(URI, preset)
    for wrong in ("hf://someone/else", preset / "nothing", 5):
        with pytest.raises(ValueError, match="`preset`"):
            upload_preset(URI, wrong)
    assert not hub_server.requests


@pytest.mark.parametrize(
    "uri",
    [
        "hf://name", "hf://user/name/folder", "hf:///name", "hf://user/na me", "user/name", "",
        "s3://user/name", "modelscope://user/name", "kaggle://user/model", None,
        "kaggle://user/model/keras/small/1", "kaggle://user/model/pyTorch/small",
    ],
)  # fmt: skip
def test_another_kind_of_uri_is_refused_by_name(uri, preset):
    with pytest.raises(ValueError, match="`uri`.*hf://user/name or kaggle://"):
        upload_preset(uri, preset)


def test_a_name_that_the_hub_does_not_take_is_refused(hub, preset):
    with pytest.raises(ValueError, match="^hf://someone/-name-: "):
        upload_preset("hf://someone/-name-", preset)


def test_without_permission_the_error_says_how_to_log_in(hub, preset, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "another")
    with pytest.raises(PermissionError, match=f"^{URI}: .*hf auth login"):
        upload_preset(URI, preset)


def test_a_hub_that_cannot_be_reached_is_an_error_that_names_the_uri(hub, preset, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(OSError, match=f"^{URI}: the hub cannot be reached"):
        upload_preset(URI, preset)


def test_a_card_that_the_hub_refuses_is_an_error_with_its_reason(hub, tmp_path):
    make_tokenizer().save_to_preset(tmp_path / "preset", card={"license": "unheard-of"})
    with pytest.raises(ValueError, match=f"^{URI}: .*README.md.*unknown license"):
        upload_preset(URI, tmp_path / "preset")


@pytest.mark.parametrize("package", ["huggingface_hub", "kagglehub"])
def test_a_missing_package_is_named(preset, monkeypatch, package):
    from keras_hub.src.utils import preset_utils

    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(preset_utils, "kagglehub", None)  # as KerasHub has it then
    uri = URI if package == "huggingface_hub" else KAGGLE
    with pytest.raises(ImportError, match=f"^{uri}: .*{package}"):
        upload_preset(uri, preset)


def test_kaggle_gets_what_belongs_to_the_preset(kaggle, preset):
    upload_preset(KAGGLE, preset)
    files = kaggle.variations["someone", "pictures", "small"][0]
    assert set(files) == {"README.md", "config.json", "metadata.json", "model.weights.h5"}
    assert f'from_preset("{KAGGLE}")' in files["README.md"].decode()
    assert MARK in files["README.md"].decode()
    loaded, saved = keras_regvq.from_preset(KAGGLE), keras_regvq.from_preset(preset)
    np.testing.assert_array_equal(loaded.encode(IMAGES), saved.encode(IMAGES))


@pytest.mark.seldom
def test_each_upload_to_kaggle_is_a_version(kaggle, preset):
    upload_preset(KAGGLE, preset)
    make_tokenizer(16).save_to_preset(preset)
    upload_preset(KAGGLE, preset)
    versions = kaggle.variations["someone", "pictures", "small"]
    assert len(versions) == 2 and kaggle.models == [("someone", "pictures")]
    assert versions[1]["config.json"] == (preset / "config.json").read_bytes()
    assert versions[0]["config.json"] != versions[1]["config.json"]


def test_what_kaggle_refuses_is_an_error_that_names_the_uri(kaggle, preset, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_TOKEN", "another")
    with pytest.raises(PermissionError, match=f"^{KAGGLE}: .*log in.*KAGGLE_API_TOKEN"):
        upload_preset(KAGGLE, preset)
    places = kagglesdk.kaggle_env._env_to_endpoint
    monkeypatch.setitem(places, kagglesdk.kaggle_env.KaggleEnv.PROD, "http://127.0.0.1:1")
    with pytest.raises(OSError, match=f"^{KAGGLE}: the hub cannot be reached"):
        upload_preset(KAGGLE, preset)


def test_the_command_uploads(hub, preset, capsys):
    command(["upload", str(preset), URI])
    assert f'from_preset("{URI}")' in capsys.readouterr().out
    assert keras_regvq.from_preset(URI).codebook_size == 16
    with pytest.raises(SystemExit, match="^error: .*`uri`"):
        command(["upload", str(preset), "nowhere"])
