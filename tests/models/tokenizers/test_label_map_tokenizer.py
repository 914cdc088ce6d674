import keras
import numpy as np
import pytest

import keras_regvq
from keras_regvq import models, quantizers
from tests.models.priors.tiny_prior import CLASSES, make_label_tokenizer, random_maps

pytestmark = pytest.mark.eager


def blocky_maps(count):
    cells = np.random.default_rng(0).integers(0, CLASSES, (count, 4, 6))
    return cells.repeat(4, axis=1).repeat(4, axis=2)


@pytest.mark.seldom
@pytest.mark.compiled
@pytest.mark.one_backend
def test_it_learns_to_say_a_label_map_in_tokens():
    maps = blocky_maps(32)
    tokenizer = make_label_tokenizer()
    tokenizer.compile(keras.optimizers.Adam(1e-2))
    history = tokenizer.fit(maps, batch_size=8, epochs=12, verbose=0).history
    assert history["pixel_accuracy"][-1] > 0.5 > history["pixel_accuracy"][0]
    tokens = tokenizer.encode(maps)
    assert tokens.shape == (32, 4, 6) and tokens.dtype == np.int32
    restored = tokenizer.decode(tokens)
    assert (restored == maps).mean() == pytest.approx(history["pixel_accuracy"][-1], abs=0.15)


def test_the_loss_is_the_cross_entropy_of_the_pixels_and_the_quantizers_losses():
    tokenizer, maps = make_label_tokenizer(), random_maps(2)
    tokenizer.compile(keras.optimizers.SGD(0.0))
    loss = tokenizer.evaluate(maps, verbose=0, return_dict=True)["loss"]
    outputs = tokenizer(keras.ops.convert_to_tensor(maps, "int32"))
    logits = keras.ops.convert_to_numpy(outputs["logits"]).astype("float64")
    log_shares = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    entropy = -np.take_along_axis(log_shares, maps[..., None], -1).mean()
    extra = sum(float(keras.ops.sum(value)) for value in outputs["losses"].values())
    assert loss == pytest.approx(entropy + extra, rel=1e-5)


def test_a_preset_gives_the_same_tokens(tmp_path):
    tokenizer, maps = make_label_tokenizer(), random_maps()
    tokenizer.save_to_preset(str(tmp_path / "maps"))
    loaded = keras_regvq.from_preset(str(tmp_path / "maps"))
    np.testing.assert_array_equal(loaded.encode(maps), tokenizer.encode(maps))


@pytest.mark.parametrize(
    "maps, named",
    [
        (random_maps() + 1, "labels from 1 to 5"),
        (random_maps().astype("float32"), "label_maps"),
        (random_maps()[:, :, :8], r"\(16, 8\) pixels"),
        (random_maps()[0], "label_maps"),
    ],
)
def test_wrong_label_maps_are_named(maps, named):
    with pytest.raises(ValueError, match=named):
        make_label_tokenizer().encode(maps)


def test_a_size_that_the_factor_does_not_divide_is_named():
    with pytest.raises(ValueError, match="image_size"):
        models.LabelMapTokenizer(CLASSES, (18, 24), quantizers.VectorQuantizer(9, 8))
