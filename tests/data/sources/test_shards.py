"""Shards of pictures, read from start to end: WebDataset's tar files and Parquet."""

import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import keras_regvq
from keras_regvq.data import streams
from keras_regvq.data.every_caption import every_caption
from keras_regvq.data.sources.samples import in_split

COUNT, SHARDS = 12, 3


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "png")
    return file.getvalue()


@pytest.fixture(scope="module")
def scenes():
    return keras_regvq.data.scenes(COUNT, size=16)


@pytest.fixture
def tars(scenes, tmp_path):
    for shard in range(SHARDS):
        with tarfile.open(tmp_path / f"{shard}.tar", "w") as archive:
            for number in range(shard, COUNT, SHARDS):
                members = {
                    "png": png(scenes["images"][number]),
                    "labels.png": png(scenes["labels"][number].astype("uint8")),
                    "json": json.dumps({"caption": scenes["captions"][number]}).encode(),
                    "cls": b"3",
                }
                for extension, data in members.items():
                    member = tarfile.TarInfo(f"set/{number:04}.{extension}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
    return tmp_path


@pytest.fixture
def parquet(scenes, tmp_path):
    for shard in range(SHARDS):
        numbers = range(shard, COUNT, SHARDS)
        table = {
            "id": [f"{number}" for number in numbers],
            "image": [{"bytes": png(scenes["images"][n]), "path": "a.png"} for n in numbers],
            "label_map": [png(scenes["labels"][n].astype("uint8")) for n in numbers],
            "text": [str(scenes["captions"][n]) for n in numbers],
        }
        pq.write_table(pa.table(table), tmp_path / f"{shard}.parquet", row_group_size=2)
    return tmp_path


@pytest.fixture(params=["webdataset", "parquet"])
def source(request):
    kind = request.param
    folder = request.getfixturevalue({"webdataset": "tars", "parquet": "parquet"}[kind])
    return f"{kind}:{folder}/*.{'tar' if kind == 'webdataset' else kind}"


def load(source, **options):
    options = {"image_size": 16, "split": "all", "batch_size": None, **options}
    return list(keras_regvq.data.load(source, **options).as_numpy_iterator())


def test_a_limit_gives_the_same_examples_in_every_shuffled_pass(source):
    chosen = {"shuffle": True, "num_examples": 3}
    first = load(source, shuffle=False, num_examples=3)
    expected = sorted(example["images"].tobytes() for example in first)
    for seed in range(4):
        found = load(source, seed=seed, **chosen)
        assert sorted(example["images"].tobytes() for example in found) == expected


def test_every_caption_is_listed_of_shards_too(source, scenes):
    assert sorted(every_caption(source, "all")) == sorted(map(str, scenes["captions"]))
    assert len(every_caption(source, "all", num_examples=5)) == 5


def test_a_file_whose_name_looks_like_a_glob_is_found(tars):
    folder = tars.rename(tars.with_name("x[1]"))
    assert len(load(f"webdataset:{folder}/0.tar")) == COUNT // SHARDS


def test_every_field_of_every_example_is_read_in_the_order_of_the_shards(source, scenes):
    found = load(source, fields=("images", "labels", "captions"))
    order = [number for shard in range(SHARDS) for number in range(shard, COUNT, SHARDS)]
    assert len(found) == COUNT
    for number, example in zip(order, found, strict=True):
        np.testing.assert_array_equal(example["images"], scenes["images"][number])
        np.testing.assert_array_equal(example["labels"], scenes["labels"][number])
        assert example["captions"].decode() == scenes["captions"][number]


def key(example):
    return example["images"].tobytes()


def test_passes_have_different_orders_and_every_example_once(source):
    dataset = keras_regvq.data.load(
        source, image_size=16, split="all", batch_size=None, shuffle=True, seed=3
    )
    passes = [[key(e) for e in dataset.as_numpy_iterator()] for _ in range(2)]
    assert passes[0] != passes[1]
    assert sorted(passes[0]) == sorted(passes[1]) and len(set(passes[0])) == COUNT
    again = load(source, shuffle=True, seed=3)
    assert [key(e) for e in again] == passes[0]


def test_batches_without_end_go_on_at_a_step(source):
    options = {"batch_size": 4, "shuffle": True, "seed": 1}
    whole = keras_regvq.data.load(source, "all", 16, from_step=0, **options).take(8)
    rest = keras_regvq.data.load(source, "all", 16, from_step=5, **options).take(3)
    whole, rest = ([key(b) for b in d.as_numpy_iterator()] for d in (whole, rest))
    assert rest == whole[5:] and whole[:3] != whole[3:6]


def test_the_splits_are_disjoint_and_all(source):
    parts = [{key(e) for e in load(source, split=split)} for split in ("train", "test")]
    assert not parts[0] & parts[1] and len(parts[0] | parts[1]) == COUNT
    keys = [f"{number}" for number in range(1000)]
    assert 50 < sum(in_split(name, "test") for name in keys) < 150


def test_each_process_reads_other_shards(source, monkeypatch):
    seen = []
    for index in range(2):
        monkeypatch.setattr(streams, "process_index_and_count", lambda index=index: (index, 2))
        seen += [key(e) for e in load(source, shuffle=True, seed=0)]
    assert len(seen) == len(set(seen)) == COUNT
    monkeypatch.setattr(streams, "process_index_and_count", lambda: (0, 4))
    with pytest.raises(ValueError, match="3 shards for 4 processes"):
        load(source)


def test_what_is_damaged_is_left_out_with_one_warning(tars, scenes):
    data = (tars / "1.tar").read_bytes()
    (tars / "1.tar").write_bytes(data[: len(data) // 2])
    with pytest.warns(UserWarning, match="1.tar") as caught:
        found = load(f"webdataset:{tars}/*.tar")
    assert len([w for w in caught if "Left out" in str(w.message)]) == 1
    assert 8 < len(found) < COUNT


def test_an_example_without_a_field_is_left_out(parquet):
    table = pq.read_table(parquet / "0.parquet").to_pydict()
    table["text"][1] = None
    table["image"][2]["bytes"] = b"no picture"
    pq.write_table(pa.table(table), parquet / "0.parquet")
    with pytest.warns(UserWarning, match='nothing for the field "captions"|as a picture|supported'):
        found = load(f"parquet:{parquet}/*.parquet", fields=("images", "captions"))
    assert len(found) == COUNT - 2


def test_a_label_map_of_another_shape_than_its_picture_is_left_out(parquet):
    table = pq.read_table(parquet / "0.parquet").to_pydict()
    table["label_map"][0] = png(np.zeros((16, 32), np.uint8))
    pq.write_table(pa.table(table), parquet / "0.parquet")
    source = f"parquet:{parquet}/*.parquet"
    with pytest.warns(UserWarning, match=r"0 has width and height \(16, 16\).*\(32, 16\)"):
        found = load(source, fields=("images", "labels"))
    assert len(found) == COUNT - 1 and len(load(source, fields=("labels",))) == COUNT


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
def test_no_files_and_files_of_another_kind_are_named(kind, tmp_path):
    with pytest.raises(ValueError, match="files that exist"):
        load(f"{kind}:{tmp_path}/*.tar")
    (tmp_path / "a.tar").write_bytes(b"nothing of the kind" * 100)
    endless = keras_regvq.data.load(f"{kind}:{tmp_path}/*.tar", batch_size=2, from_step=0)
    with pytest.warns(UserWarning, match="a.tar"), pytest.raises(Exception, match="No example"):
        next(iter(endless))
    with pytest.warns(UserWarning, match="a.tar"):
        assert load(f"{kind}:{tmp_path}/*.tar") == []
