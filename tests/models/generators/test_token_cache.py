import numpy as np
import pytest

from keras_regvq.models.generators.token_cache import tokenize_batches

BATCHES = [{"images": np.full((size, 2, 2), value)} for value, size in ((7, 3), (300, 3), (5, 1))]


class Encoder:
    """Counts its calls, and stops at one of them."""

    def __init__(self, stop_at=None):
        self.calls, self.stop_at = 0, stop_at

    def __call__(self, batch):
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        self.calls += 1
        return {"tokens": batch["images"][:, :1, :1] + 1, "labels": batch["images"]}


def never(batch):
    raise AssertionError("encoded again")


def run(encode, directory, dataset=BATCHES, fingerprint="a"):
    return tokenize_batches(dataset, encode, directory, fingerprint, verbose=False)


def check(arrays):
    assert arrays["tokens"].ravel().tolist() == [8] * 3 + [301] * 3 + [6]
    np.testing.assert_array_equal(arrays["labels"], arrays["tokens"] - 1 + np.zeros((1, 2, 2), int))
    assert arrays["tokens"].dtype == np.uint16


def test_without_a_directory_everything_is_in_memory():
    check(run(Encoder(), None))


def test_batches_are_encoded_once_and_read_ever_after(tmp_path):
    check(run(Encoder(), tmp_path / "cache"))
    check(run(never, tmp_path / "cache"))
    check(run(never, tmp_path / "cache", dataset=None))


def test_an_interrupted_run_goes_on_where_it_was(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(Encoder(stop_at=2), tmp_path)
    second = Encoder()
    check(run(second, tmp_path))
    assert second.calls == 1


def test_a_damaged_file_is_made_again(tmp_path):
    run(Encoder(), tmp_path)
    for damage in (lambda data: data[: len(data) // 2], lambda data: data[:80] + b"x" + data[81:]):
        path = tmp_path / "000001.npz"
        path.write_bytes(damage(path.read_bytes()))
        again = Encoder()
        check(run(again, tmp_path))
        assert again.calls == 1


def test_batches_made_from_other_data_are_made_again(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(Encoder(stop_at=2), tmp_path, BATCHES[::-1])
    again = Encoder()
    check(run(again, tmp_path))
    assert again.calls == 2, "the one in the middle is the same in both orders"


def test_a_kill_while_a_file_is_written_leaves_no_other_half(tmp_path, monkeypatch):
    def killed(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(np, "savez_compressed", killed)
        run(Encoder(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["cache.json"]
    check(run(Encoder(), tmp_path))


def test_another_tokenizers_cache_is_refused(tmp_path):
    run(Encoder(), tmp_path)
    with pytest.raises(ValueError, match="another tokenizer"):
        run(Encoder(), tmp_path, fingerprint="b")


def test_a_complete_cache_of_other_data_is_refused(tmp_path):
    run(Encoder(), tmp_path)
    other = [{"images": batch["images"] + 1} for batch in BATCHES]
    for dataset in (other, [], [{"labels": batch["images"]} for batch in BATCHES]):
        with pytest.raises(ValueError, match=f"{tmp_path.name}.*first 3 examples are others"):
            run(never, tmp_path, dataset)
    for dataset in (BATCHES[:1], [*BATCHES, BATCHES[0]]):
        with pytest.raises(ValueError, match=f"7 examples, not from {len(dataset)} batches of 3"):
            run(never, tmp_path, dataset)
    check(run(never, tmp_path, iter(BATCHES)))


@pytest.mark.parametrize("size", [1, 2, 5, 7, 100])
def test_a_complete_cache_is_read_whatever_the_size_of_a_batch(tmp_path, size):
    run(Encoder(), tmp_path)
    whole = np.concatenate([batch["images"] for batch in BATCHES])
    dataset = [{"images": whole[start : start + size]} for start in range(0, 7, size)]
    check(run(never, tmp_path, dataset))


def test_no_data_are_refused_where_tokens_are_missing(tmp_path):
    for directory in (None, tmp_path):
        with pytest.raises(ValueError, match="`dataset`.*None"):
            run(never, directory, dataset=None)


def test_a_foreign_index_and_an_empty_data_set_are_named(tmp_path):
    with pytest.raises(ValueError, match="empty"):
        run(Encoder(), None, dataset=[])
    for text in ("{", "[]", "5", '{"fingerprint": "a"}', '{"fingerprint": "a", "batches": "3"}'):
        (tmp_path / "cache.json").write_text(text)
        with pytest.raises(ValueError, match="cache.json"):
            run(Encoder(), tmp_path)


def test_negative_numbers_of_a_condition_stay_what_they_are(tmp_path):
    batches = [{"images": np.array([[-1, 5]])}, {"images": np.array([[300, -2]])}]
    arrays = run(lambda batch: {"labels": batch["images"]}, tmp_path / "cache", batches)
    assert arrays["labels"].tolist() == [[-1, 5], [300, -2]]
