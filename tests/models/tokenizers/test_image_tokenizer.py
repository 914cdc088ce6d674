import keras
import numpy as np
import pytest

torch = pytest.importorskip("torch")

import keras_regvq  # noqa: E402
from benchmarks.plain_torch import quantizers as plain_quantizers  # noqa: E402
from benchmarks.plain_torch.port_weights import copy_weights, tokenizer_names  # noqa: E402
from benchmarks.plain_torch.vqgan import VQGAN  # noqa: E402
from keras_regvq.models import ImageTokenizer  # noqa: E402
from keras_regvq.quantizers import (  # noqa: E402
    GumbelQuantizer,
    RegularizedQuantizer,
    VectorQuantizer,
)

CODES, WIDTH = 20, 6


def make_tokenizer(quantizer=None, image_size=16, **options):
    """16-pixel images to 8 x 8 tokens."""
    sizes = {
        "base_channels": 8,
        "channel_multipliers": (1, 2),
        "num_res_blocks": 1,
        "attention_resolutions": (),
        "latent_channels": 8,
    }
    quantizer = quantizer or RegularizedQuantizer(CODES, WIDTH)
    return ImageTokenizer(image_size, quantizer, **{**sizes, **options})


@pytest.fixture(scope="module")
def pair():
    """A tokenizer of three levels, and the plain PyTorch one (float64) with its weights.

    Attention at the middle level, two blocks a level, channels that change and that do not.
    """
    torch.manual_seed(0)
    sizes = {"num_res_blocks": 2}
    plain = VQGAN(
        plain_quantizers.RegularizedQuantizer(CODES, WIDTH),
        ch=8,
        ch_mult=(1, 2, 2),
        attn_resolutions=(8,),
        resolution=16,
        z_channels=5,
        embed_dim=WIDTH,
        **sizes,
    )
    for name, weights in plain.named_parameters():
        if ".norm" in name:  # which start as ones and zeros, and would hide a mix-up
            torch.nn.init.normal_(weights, 1.0 if name.endswith("weight") else 0.0, 0.3)
    with torch.no_grad():  # logits that differ between positions more than between codes
        mean = plain.quant_conv(plain.encoder(torch.rand(4, 3, 16, 16) * 2 - 1)).mean((0, 2, 3))
        plain.quantize.proj.bias.copy_(-plain.quantize.proj.weight[:, :, 0, 0] @ mean)
    tokenizer = make_tokenizer(
        channel_multipliers=(1, 2, 2), attention_resolutions=(8,), latent_channels=5, **sizes
    )
    names = tokenizer_names(plain, tokenizer)
    assert {id(variable) for variable in names.values()} == {
        id(variable) for variable in tokenizer.trainable_variables
    }
    copy_weights(plain, names)
    return tokenizer, plain.double().eval()


@pytest.fixture(scope="module")
def tokenizer(pair):
    return pair[0]


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(3).random((5, 16, 16, 3), dtype="float32")


def plain_input(images):
    return torch.from_numpy(images).double().permute(0, 3, 1, 2) * 2 - 1


def array_of(tensor):
    return np.asarray(keras.ops.convert_to_numpy(tensor))


@pytest.mark.parametrize("height, width", [(16, 16), pytest.param(8, 20, marks=pytest.mark.seldom)])
def test_features_tokens_and_images_equal_plain_pytorchs(pair, height, width):
    tokenizer, plain = pair
    images = np.random.default_rng(4).random((3, height, width, 3), dtype="float32")
    with torch.no_grad():
        features = plain.quant_conv(plain.encoder(plain_input(images)))
        decoded, quantized = plain(plain_input(images))
    expected = ((decoded + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1).numpy()

    ours = tokenizer.encoder.predict(images * 2 - 1, verbose=0)
    np.testing.assert_allclose(ours, features.permute(0, 2, 3, 1), atol=2e-5)
    tokens = tokenizer.encode(images)
    assert tokens.shape == (3, height // 4, width // 4)
    np.testing.assert_array_equal(tokens, quantized["tokens"])
    assert len(np.unique(tokens)) > 3
    np.testing.assert_allclose(tokenizer.decode(tokens), expected, atol=1e-4)
    np.testing.assert_allclose(tokenizer.reconstruct(images), expected, atol=1e-4)
    outputs = tokenizer.predict(images, verbose=0)
    np.testing.assert_array_equal(outputs["tokens"], tokens)
    np.testing.assert_allclose(outputs["images"], expected, atol=1e-4)
    assert np.ptp(expected) > 0.1


@pytest.mark.one_backend
def test_the_papers_tokenizer_has_the_published_size():
    tokenizer = ImageTokenizer(256, VectorQuantizer(1024, 256))
    assert tokenizer.count_params() == 72_141_699
    assert len(tokenizer.weights) == 343
    # taming's encoder and decoder are counted without the 1x1 convolutions around the codebook.
    assert tokenizer.encoder.count_params() == 29_298_176 + 256 * 256 + 256
    assert tokenizer.decoder.count_params() == 42_449_795 + 256 * 256 + 256
    assert tokenizer.token_grid == (16, 16)
    assert tokenizer.downsampling_factor == 16


def test_encode_gives_integer_tokens_and_decode_float_images(tokenizer, images):
    # Other libraries' encode() gives latents that are not quantized.
    tokens = tokenizer.encode(images)
    assert tokens.dtype == np.int32 and tokens.shape == (5, 4, 4)
    assert 0 <= tokens.min() and tokens.max() < CODES
    decoded = tokenizer.decode(tokens.astype("int64"))
    assert decoded.dtype == np.float32 and decoded.shape == images.shape
    assert 0 <= decoded.min() and decoded.max() <= 1


def test_decoded_images_are_clipped_to_the_unit_range():
    tokenizer = make_tokenizer(VectorQuantizer(CODES, WIDTH))
    last = tokenizer.decoder.get_layer("conv_out")
    last.bias.assign([5.0, -5.0, 0.0])
    last.kernel.assign(last.kernel * 0.0)
    decoded = tokenizer.decode(np.zeros((1, 8, 8), int))
    np.testing.assert_array_equal(decoded[0, 0, 0], [1.0, 0.0, 0.5])


def test_uint8_and_float_images_give_the_same_tokens(tokenizer, images):
    integers = np.round(images * 255).astype("uint8")
    floats = integers.astype("float32") / 255
    tokens = tokenizer.encode(integers)
    np.testing.assert_array_equal(tokens, tokenizer.encode(floats))
    np.testing.assert_array_equal(tokens, tokenizer.encode(floats.astype("float64")))
    np.testing.assert_array_equal(tokens, tokenizer.encode(floats.tolist()))
    np.testing.assert_array_equal(tokens, tokenizer.encode(keras.ops.convert_to_tensor(floats)))


@pytest.mark.parametrize("batch_size", [2, 100])
def test_the_batch_size_does_not_change_the_tokens(tokenizer, images, batch_size):
    tokens = np.concatenate([tokenizer.encode(images[i : i + 1]) for i in range(5)])
    assert len({row.tobytes() for row in tokens}) == 5
    np.testing.assert_array_equal(tokenizer.encode(images, batch_size=batch_size), tokens)
    decoded = tokenizer.decode(tokens)
    np.testing.assert_allclose(tokenizer.decode(tokens, batch_size), decoded, atol=1e-5)


@pytest.mark.parametrize("quantizer_class", [RegularizedQuantizer, GumbelQuantizer])
def test_encoding_draws_nothing(quantizer_class, images):
    # Gumbel noise left on at inference is a known defect of others.
    tokenizer = make_tokenizer(quantizer_class(CODES, WIDTH, temperature=5.0))
    state = array_of(tokenizer.quantizer.seed_generator.state)
    tokens = tokenizer.encode(images)
    np.testing.assert_array_equal(tokens, tokenizer.encode(images))
    features = tokenizer.encoder.predict(images * 2 - 1, verbose=0)
    kernel, bias = map(array_of, (tokenizer.quantizer.kernel, tokenizer.quantizer.bias))
    best = np.argmax(features @ kernel + bias, axis=-1)
    np.testing.assert_array_equal(tokens, best)
    np.testing.assert_array_equal(array_of(tokenizer.quantizer.seed_generator.state), state)
    features = keras.ops.convert_to_tensor(features)
    sampled = array_of(tokenizer.quantizer(features, training=True)["tokens"])
    assert (sampled != best).any()


def test_new_weights_are_used_by_the_next_call(images):
    tokenizer = make_tokenizer()
    tokens = tokenizer.encode(images)
    decoded = tokenizer.decode(tokens)
    quantizer = tokenizer.quantizer
    quantizer.kernel.assign(-quantizer.kernel)
    quantizer.codebook.assign(array_of(quantizer.codebook)[::-1].copy())
    features = tokenizer.encoder.predict(images * 2 - 1, verbose=0)
    best = np.argmax(features @ array_of(quantizer.kernel), axis=-1)
    assert (best != tokens).any()
    np.testing.assert_array_equal(tokenizer.encode(images), best)
    np.testing.assert_allclose(tokenizer.decode(CODES - 1 - tokens), decoded, atol=1e-6)
    assert np.abs(tokenizer.decode(tokens) - decoded).max() > 1e-3


@pytest.mark.one_backend
@pytest.mark.parametrize(
    "quantizer",
    [
        VectorQuantizer(7, 4, commitment_weight=0.5),
        GumbelQuantizer(7, 4, temperature=0.5, kl_weight=0.1),
        RegularizedQuantizer(7, 4, mask_ratio=0.3, prior_scope="image", prior_estimator="hard"),
    ],
    ids=lambda quantizer: type(quantizer).__name__,
)
def test_the_config_gives_the_same_tokenizer_back(quantizer):
    tokenizer = make_tokenizer(
        quantizer, image_size=(16, 32), attention_resolutions=(8,), dropout=0.25, name="mine"
    )
    config = keras.saving.serialize_keras_object(tokenizer)
    copy = keras.saving.deserialize_keras_object(config)
    assert copy.get_config() == tokenizer.get_config()
    assert copy.name == "mine" and copy.image_size == (16, 32) and copy.token_grid == (8, 16)
    assert type(copy.quantizer) is type(quantizer)
    assert copy.quantizer.get_config() == quantizer.get_config()
    assert [w.shape for w in copy.weights] == [w.shape for w in tokenizer.weights]
    attention = [layer.name for layer in copy.encoder.layers if "down_1_attention" in layer.name]
    assert attention == ["down_1_attention_0"]
    assert copy.encoder.get_layer("mid_block_1").dropout.rate == 0.25


@pytest.mark.one_backend
@pytest.mark.parametrize("size", [8, 32, (32, 16), (16, 48)])
def test_loaded_for_another_size_attention_stays_at_its_levels(size, rng, tmp_path):
    """Sizes do not change weights: the same pixels have the same tokens, and these the pictures."""
    tokenizer = make_tokenizer(
        channel_multipliers=(1, 2, 2), attention_resolutions=(8, 99), middle_attention=False
    )
    tokenizer.set_weights([rng.normal(size=w.shape) * 0.3 for w in tokenizer.get_weights()])
    tokenizer.save_to_preset(tmp_path / "trained")
    images = rng.random((2, 16, 32, 3), dtype="float32")
    tokens = tokenizer.encode(images)
    for number in range(2):  # also when saved again
        folder = tmp_path / ("again" if number else "trained")
        options = {} if number else {"image_size": size}
        loaded = keras_regvq.from_preset(folder, **options)
        assert loaded.image_size == (size if isinstance(size, tuple) else (size, size))
        np.testing.assert_array_equal(loaded.encode(images), tokens)
        np.testing.assert_array_equal(loaded.decode(tokens), tokenizer.decode(tokens))
        assert "down_1_attention_0" in [layer.name for layer in loaded.encoder.layers]
        loaded.save_to_preset(tmp_path / "again")


def test_attention_elsewhere_does_not_fit_the_weights(tmp_path):
    make_tokenizer(attention_resolutions=(8,)).save_to_preset(tmp_path)
    with pytest.raises(ValueError, match="left over"):
        keras_regvq.from_preset(tmp_path, attention_resolutions=())


def test_clone_model_is_refused_where_it_would_give_another_class(tokenizer):
    with pytest.raises(ValueError, match="clone_model.*from_config"):
        keras.models.clone_model(tokenizer)
    copy = type(tokenizer).from_config(tokenizer.get_config())
    assert [w.shape for w in copy.weights] == [w.shape for w in tokenizer.weights]


@pytest.mark.one_backend
def test_bfloat16_reaches_encoder_and_decoder_and_spares_the_quantizer(images):
    tokenizer = make_tokenizer(attention_resolutions=(8,), dtype="bfloat16")
    for name in ("conv_in", "down_0_block_0", "down_1_attention_0", "norm_out", "quant_conv"):
        assert tokenizer.encoder.get_layer(name).compute_dtype == "bfloat16", name
    block = tokenizer.decoder.get_layer("up_0_block_0")
    assert {layer.compute_dtype for layer in (block.norm1, block.conv1)} == {"bfloat16"}
    assert tokenizer.decoder.get_layer("conv_out").compute_dtype == "float32"
    assert tokenizer.quantizer.compute_dtype == tokenizer.quantizer.codebook.dtype == "float32"
    assert tokenizer.predict(images, verbose=0)["images"].dtype == np.float32

    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(tokenizer))
    assert copy.encoder.get_layer("conv_in").compute_dtype == "bfloat16"

    full = make_tokenizer(attention_resolutions=(8,))
    full.set_weights([array_of(keras.ops.cast(w, "float32")) for w in tokenizer.weights])
    tokens = full.encode(images)
    assert tokenizer.encode(images).dtype == np.int32
    np.testing.assert_allclose(tokenizer.decode(tokens), full.decode(tokens), atol=0.1)


WRONG_IMAGES = {
    "rank 3": lambda images: images[0],
    "one channel": lambda images: images[..., :1],
    "four channels": lambda images: np.concatenate([images, images[..., :1]], axis=-1),
    "channels first": lambda images: images.transpose(0, 3, 1, 2),
    "no images": lambda images: images[:0],
    "int32": lambda images: (images * 255).astype("int32"),
    "bool": lambda images: images > 0.5,
    "values to 255": lambda images: images * 255,
    "values from -1": lambda images: images * 2 - 1,
    "NaN": lambda images: np.where(images > 0.5, np.nan, images),
    "infinite": lambda images: np.where(images > 0.5, np.inf, images),
    "height": lambda images: images[:, :14],
    "width": lambda images: images[:, :, :14],
    "None": lambda images: None,
    "objects": lambda images: images.astype(object),
    "a path": lambda images: "picture.png",
}


@pytest.mark.parametrize("kind", WRONG_IMAGES)
@pytest.mark.parametrize("method", ["encode", "reconstruct"])
def test_wrong_images_are_refused_by_name(tokenizer, images, kind, method):
    with pytest.raises(ValueError, match="`images`.*Received: .*Expected: "):
        getattr(tokenizer, method)(WRONG_IMAGES[kind](images))


WRONG_TOKENS = {
    "rank 2": np.zeros((4, 4), int),
    "rank 4": np.zeros((1, 4, 4, 1), int),
    "floats": np.zeros((1, 4, 4)),
    "bools": np.zeros((1, 4, 4), bool),
    "negative": np.full((1, 4, 4), -1),
    "too large": np.full((1, 4, 4), CODES),
    "empty": np.zeros((0, 4, 4), int),
    "objects": np.full((1, 4, 4), None),
    "None": None,
}


@pytest.mark.parametrize("kind", WRONG_TOKENS)
def test_wrong_tokens_are_refused_by_name(tokenizer, kind):
    with pytest.raises(ValueError, match="`tokens`.*Received: .*Expected: "):
        tokenizer.decode(WRONG_TOKENS[kind])


WRONG_ARGUMENTS = {
    "quantizer": {"quantizer": "vq"},
    "image_size": {"image_size": 15},
    "image_size, of three sides": {"image_size": (16, 16, 3)},
    "image_size, zero": {"image_size": 0},
    "image_size, a float": {"image_size": 16.0},
    "channel_multipliers": {"channel_multipliers": ()},
    "channel_multipliers, zero": {"channel_multipliers": (1, 0)},
    "base_channels": {"base_channels": 0},
    "num_res_blocks": {"num_res_blocks": -1},
    "latent_channels": {"latent_channels": -1},
    "dropout": {"dropout": 1.5},
}


@pytest.mark.parametrize("kind", WRONG_ARGUMENTS)
def test_wrong_arguments_are_refused_by_name(kind):
    argument = kind.split(",")[0]
    with pytest.raises(ValueError, match=f"`{argument}`.*Received: .*Expected: "):
        make_tokenizer(**WRONG_ARGUMENTS[kind])


def test_tokens_inside_a_model_are_those_of_encode(tokenizer, images):
    class Counts(keras.Model):
        """How often each code occurs in each image: a use of tokens inside a graph."""

        def __init__(self):
            super().__init__(autocast=False)
            self.tokenizer = tokenizer

        def call(self, images):
            tokens = self.tokenizer.tokens_of(images)
            return keras.ops.sum(keras.ops.one_hot(tokens, CODES), axis=(1, 2))

    for given in (images, (images * 255).astype("uint8")):
        tokens = tokenizer.encode(given)
        expected = [np.bincount(row.ravel(), minlength=CODES) for row in tokens]
        np.testing.assert_array_equal(Counts().predict(given, verbose=0), expected)
        outside = tokenizer.tokens_of(keras.ops.convert_to_tensor(given))
        assert keras.backend.standardize_dtype(outside.dtype) == "int32"
        np.testing.assert_array_equal(array_of(outside), tokens)
    with pytest.raises(ValueError, match=r"(?s)`images`.*\(5, 15, 16, 3\).*multiples of 4"):
        tokenizer.tokens_of(images[:, :15])
