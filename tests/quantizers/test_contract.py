"""What `Quantizer` makes of a subclass that has no codebook: all codes, and a way to choose."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_regvq.quantizers import CodebookQuantizer, Quantizer
from tests.gradients import layer_outputs

CODES = np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, 3.0]], "float32")


class ThreeCodes(Quantizer):
    """The best code is the channel with the largest feature; training takes the next one."""

    loss_names = ("size",)

    def __init__(self, **kwargs):
        super().__init__(3, 2, **kwargs)

    def codes(self):
        return ops.convert_to_tensor(CODES)

    def choose_codes(self, features, training):
        best = ops.cast(ops.argmax(features, axis=-1), "int32")
        if not training:
            return {"embeddings": self.embed(best), "tokens": best, "losses": self.size(features)}
        tokens = (best + 1) % 3
        return {
            "embeddings": self.embed(tokens),
            "tokens": tokens,
            "best_tokens": best,
            "mask": best >= 0,
            "losses": self.size(features),
        }

    def size(self, features):
        return {"size": ops.mean(features)}


@pytest.fixture
def features(rng):
    return rng.normal(size=(2, 3, 4, 3)).astype("float32")


def test_a_call_returns_everything_on_the_grid_of_the_features(features):
    layer = ThreeCodes()
    layer.build(features.shape)
    outputs = layer_outputs(layer, features, training=True)
    best = features.argmax(-1)
    used = (best + 1) % 3
    np.testing.assert_array_equal(outputs["best_tokens"], best)
    np.testing.assert_array_equal(outputs["tokens"], used)
    np.testing.assert_array_equal(outputs["embeddings"], CODES[used])
    assert outputs["mask"].shape == (2, 3, 4) and outputs["mask"].all()
    distance = np.square(CODES[used] - CODES[best]).sum(-1)
    np.testing.assert_allclose(outputs["perturbation"], distance)
    assert set(outputs["losses"]) == {"size"}
    np.testing.assert_allclose(outputs["losses"]["size"], features.mean(), rtol=1e-5)


def test_what_is_not_said_is_that_nothing_is_sampled(features):
    layer = ThreeCodes()
    layer.build(features.shape)
    outputs = layer_outputs(layer, features)
    np.testing.assert_array_equal(outputs["best_tokens"], outputs["tokens"])
    assert outputs["mask"].dtype == bool and not outputs["mask"].any()
    assert not outputs["perturbation"].any()


def test_best_and_exported_tokens_are_those_of_inference(features):
    layer = ThreeCodes()
    layer.build(features.shape)
    for tokens in (layer.best_tokens(features), layer.exported_tokens(features)):
        np.testing.assert_array_equal(ops.convert_to_numpy(tokens), features.argmax(-1))
        assert keras.backend.standardize_dtype(tokens.dtype) == "int32"


def test_a_quantizer_says_what_it_lacks():
    for method in ("codes", "choose_codes"):
        arguments = () if method == "codes" else (np.zeros((1, 1, 1)), False)
        with pytest.raises(NotImplementedError, match=rf"Quantizer must implement {method}\("):
            getattr(Quantizer(3, 2), method)(*arguments)
    with pytest.raises(NotImplementedError, match=r"CodebookQuantizer must implement scores\("):
        CodebookQuantizer(3, 2, "zeros").scores()
