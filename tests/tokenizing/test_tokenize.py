"""Shards of tokens: what is in them, and that nothing is lost or made twice."""

import csv
import io
import json
import shutil

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import keras_regvq
from keras_regvq.__main__ import main as command
from keras_regvq.tokenizing import tokenize
from keras_regvq.tokenizing.part_worker import PartWorker

ALL = ("images", "captions", "labels")


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "png")
    return file.getvalue()


def read(directory, fields=ALL, **options):
    options = {"shuffle": False, "batch_size": 4, "drop_remainder": False, **options}
    batches = list(keras_regvq.data.load(f"tokens:{directory}", fields=fields, **options))
    return {name: np.concatenate([b[name].numpy() for b in batches]) for name in batches[0]}


@pytest.mark.parametrize("format", ["parquet", "webdataset"])
def test_shards_hold_the_tokens_of_the_pictures_and_what_belongs_to_them(
    preset, scenes, tmp_path, format
):
    options = {"fields": ALL, "num_examples": 7, "examples_per_shard": 3, "format": format}
    numbers = tokenize("scenes", preset, tmp_path / "tokens", batch_size=2, **options)
    assert numbers.pop("images_per_second") > 0
    assert numbers == {"examples": 7, "left_out": 0, "shards": 3}
    found = read(tmp_path / "tokens")
    tokenizer = keras_regvq.from_preset(preset)
    np.testing.assert_array_equal(found["tokens"], tokenizer.encode(scenes["images"]))
    np.testing.assert_array_equal(found["labels"], scenes["labels"])
    assert [text.decode() for text in found["captions"]] == list(scenes["captions"])


def test_a_broken_picture_is_left_out_and_listed(preset, folder, tmp_path, capsys):
    target = tmp_path / "tokens"
    options = ["--split", "all", "--examples-per-shard", "4", "--format", "webdataset"]
    arguments = ["tokenize", "--data", f"folder:{folder}", "--preset", preset]
    command([*arguments, "--output", str(target), *options])
    assert "10 images in 3 shards" in capsys.readouterr().out
    with open(target / "left_out.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["05.png"] and "05.png" in rows[0]["reason"]
    assert read(target, ("images",), split="all")["tokens"].shape == (10, 4, 4)


def test_a_run_that_was_killed_goes_on_and_ends_with_the_same_shards(
    preset, folder, tmp_path, monkeypatch
):
    options = {"split": "all", "examples_per_shard": 3, "verbose": False}
    tokenize(f"folder:{folder}", preset, tmp_path / "whole", **options)

    class Killed(BaseException):
        pass

    make, made = PartWorker.make, []

    def make_and_die(self, number):
        if len(made) == 2:
            raise Killed
        made.append(number)
        return make(self, number)

    monkeypatch.setattr(PartWorker, "make", make_and_die)
    with pytest.raises(Killed):
        tokenize(f"folder:{folder}", preset, tmp_path / "killed", **options)
    with pytest.raises(ValueError, match="not complete"):
        keras_regvq.data.load(f"tokens:{tmp_path / 'killed'}")
    (tmp_path / "killed" / "shard-000001.parquet").unlink()  # lost
    made.clear()
    monkeypatch.setattr(
        PartWorker, "make", lambda self, number: made.append(number) or make(self, number)
    )
    tokenize(f"folder:{folder}", preset, tmp_path / "killed", **options)
    assert made == [1, 2, 3]
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


@pytest.mark.seldom
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_workers_of_ray_make_the_same_shards(preset, folder, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # else it waits for the other tests
    options = {"split": "all", "examples_per_shard": 3, "verbose": False}
    tokenize(f"folder:{folder}", preset, tmp_path / "one", **options)
    tokenize(f"folder:{folder}", preset, tmp_path / "two", workers=2, **options)
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


def test_what_does_not_fit_is_named(preset, folder, tmp_path):
    source, target = f"folder:{folder}", tmp_path / "tokens"
    options = {"verbose": False, "num_examples": 2}
    tokenize(source, preset, target, **options)
    for other in (
        {"format": "webdataset"}, {"split": "test"}, {"num_examples": 3}, {"examples_per_shard": 5},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"another.*{next(iter(other))}"):
            tokenize(source, preset, target, **{**options, **other})
    with pytest.raises(ValueError, match="split 'train'"):
        keras_regvq.data.load(f"tokens:{target}", split="test")
    with pytest.raises(ValueError, match="`flip`.*mirrored"):
        keras_regvq.data.load(f"tokens:{target}", flip=True)
    for wrong in ({"split": "val"}, {"num_examples": 2.5}, {"examples_per_shard": 0}):
        with pytest.raises(ValueError, match=f"`{next(iter(wrong))}`"):
            tokenize(source, preset, tmp_path / "wrong", **wrong)
    with pytest.raises(ValueError, match="holds something else"):
        tokenize(source, preset, folder)
    with pytest.raises(ValueError, match="`preset`.*SemanticToImage"):
        tokenize(source, "semantic_scenes_64", tmp_path / "other")
    with pytest.raises(ValueError, match="tokens.json"):
        keras_regvq.data.load(f"tokens:{folder}")
    (target / "tokens.json").write_text(json.dumps({"format": "parquet", "shards": ["../a"]}))
    with pytest.raises(ValueError, match="tokens.json"):
        keras_regvq.data.load(f"tokens:{target}")
    with pytest.raises(ValueError, match="`source`"):
        tokenize("tokens:there", preset, tmp_path / "wrong")


def test_tokens_of_both_splits_are_not_parted_by_another_rule(preset, folder, tmp_path):
    target = tmp_path / "both"
    tokenize(f"folder:{folder}", preset, target, split="all", num_examples=np.int64(2))
    with pytest.raises(ValueError, match="`split`.*does not say which is which"):
        keras_regvq.data.load(f"tokens:{target}", split="train")
    assert len(list(keras_regvq.data.load(f"tokens:{target}", "all", batch_size=1))) == 2


def test_tokens_of_fewer_examples_than_a_batch_are_one_batch(preset, folder, tmp_path):
    tokenize(f"folder:{folder}", preset, tmp_path / "few", num_examples=2, verbose=False)
    source = f"tokens:{tmp_path / 'few'}"
    (batch,) = keras_regvq.data.load(source)
    assert len(batch["tokens"]) == 2
    with pytest.raises(ValueError, match="`batch_size`.*drop_remainder=True.*at most 2"):
        keras_regvq.data.load(source, drop_remainder=True)


def test_a_home_folder_is_one_folder(preset, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    tokenize(f"folder:{folder}", preset, "~/tokens", num_examples=2, verbose=False)
    assert len(list(keras_regvq.data.load("tokens:~/tokens", batch_size=1))) == 2


def test_labels_that_a_shard_cannot_hold_leave_their_picture_out(preset, scenes, tmp_path):
    labels = scenes["labels"].copy()
    labels[0, 0, 0], labels[1, 0, 0] = -1, 70000
    np.savez(tmp_path / "a.npz", images=scenes["images"], labels=labels)
    options = {"split": "all", "fields": ("images", "labels"), "verbose": False}
    numbers = tokenize(f"npz:{tmp_path / 'a.npz'}", preset, tmp_path / "tokens", **options)
    assert numbers["examples"] == 5 and numbers["left_out"] == 2
    assert "labels from -1 to" in (tmp_path / "tokens" / "left_out.csv").read_text()
    found = read(tmp_path / "tokens", ("labels",), split="all")["labels"]
    np.testing.assert_array_equal(found, labels[2:])


@pytest.mark.one_backend
@pytest.mark.parametrize("format", ["parquet", "webdataset"])
def test_examples_whose_keys_repeat_are_all_kept(preset, scenes, tmp_path, format):
    keys = ["7", "7", "7-2", "", "7", ""]
    pictures = [{"bytes": png(image)} for image in scenes["images"][: len(keys)]]
    texts = [f"picture {number}" for number in range(len(keys))]
    table = pa.table({"image_id": keys, "image": pictures, "text": texts})
    pq.write_table(table, tmp_path / "rows.parquet")
    options = {"fields": ("images", "captions"), "split": "all", "format": format}
    options |= {"verbose": False}
    numbers = tokenize(f"parquet:{tmp_path}/*.parquet", preset, tmp_path / "tokens", **options)
    assert numbers["examples"] == len(keys)
    found = read(tmp_path / "tokens", ("captions",), split="all")["captions"]
    assert sorted(text.decode() for text in found.ravel()) == texts


def test_a_folder_that_got_more_pictures_is_another_one(preset, folder, tmp_path):
    copy, target = shutil.copytree(folder, tmp_path / "photos"), tmp_path / "tokens"
    options = {"split": "all", "verbose": False}
    tokenize(f"folder:{copy}", preset, target, **options)
    assert tokenize(f"folder:{copy}", preset, target, **options)["examples"] == 10
    shutil.copy(copy / "00.png", copy / "more.png")
    with pytest.raises(ValueError, match="another set_of_pictures"):
        tokenize(f"folder:{copy}", preset, target, **options)
    index = json.loads((target / "tokens.json").read_text())  # as version 0.2 wrote it
    for name in ("num_examples", "examples_per_shard", "set_of_pictures"):
        del index[name]
    (target / "tokens.json").write_text(json.dumps(index))
    assert tokenize(f"folder:{copy}", preset, target, **options)["examples"] == 10


@pytest.mark.filterwarnings("ignore:.*ran out of data")
def test_a_prior_trained_from_shards_is_the_one_trained_from_arrays(preset, scenes, tmp_path):
    tokenize("scenes", preset, tmp_path, num_examples=7, examples_per_shard=3, verbose=False)
    shards = keras_regvq.data.load(
        f"tokens:{tmp_path}", batch_size=3, shuffle=False, drop_remainder=True
    )
    tokens = keras_regvq.from_preset(preset).encode(scenes["images"])
    trained = []
    for data in (shards, {"tokens": tokens[:6]}):
        keras.utils.set_random_seed(0)
        prior = keras_regvq.models.AutoregressivePrior(8, 4, 1, 2, 8)
        prior.compile(keras.optimizers.SGD(0.1))
        options = {"batch_size": 3} if isinstance(data, dict) else {}
        prior.fit(data, shuffle=False, verbose=0, **options)
        trained.append(prior.get_weights())
    for one, other in zip(*trained, strict=True):
        np.testing.assert_array_equal(one, other)
