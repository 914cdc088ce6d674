"""Tokenizers that work on patches."""

import keras
import numpy as np
import pytest

import keras_regvq
from keras_regvq.models import ImageTokenizer, PatchDiscriminator
from keras_regvq.presets.convert import export
from keras_regvq.quantizers import VectorQuantizer
from keras_regvq.training import TokenizerTrainer
from keras_regvq.training.adversarial.adaptive_weight import adaptive_weight


def make(patch_size=2, multipliers=(1, 2), **options):
    sizes = {"base_channels": 8, "num_res_blocks": 0, "latent_channels": 4}
    sizes |= {"attention_resolutions": (), "channel_multipliers": multipliers, **options}
    return ImageTokenizer(16, VectorQuantizer(6, 4), patch_size=patch_size, **sizes)


@pytest.mark.parametrize(
    "patch_size, multipliers, factor",
    [(2, (1,), 2), (2, (1, 2), 4), (4, (1, 1), 8), (1, (1, 2), 2)],
)
def test_patches_and_levels_multiply_to_the_downsampling_factor(patch_size, multipliers, factor):
    tokenizer = make(patch_size, multipliers)
    images = np.random.default_rng(0).random((1, 2 * factor, 3 * factor, 3), dtype="float32")
    assert tokenizer.downsampling_factor == factor
    assert tokenizer.encode(images).shape == (1, 2, 3)
    assert tokenizer.reconstruct(images).shape == images.shape
    with pytest.raises(ValueError, match="`image_size`.*16"):
        ImageTokenizer(24, VectorQuantizer(6, 4), patch_size=16, channel_multipliers=(1,))


def test_a_patch_is_seen_and_made_as_its_own_pixels():
    """Without blocks that mix positions each position of the encoder sees one patch."""
    tokenizer = make(4, (1,), middle_attention=False)
    kernel = tokenizer.encoder.get_layer("conv_in").kernel
    assert tuple(kernel.shape) == (4, 4, 3, 8)
    images = np.random.default_rng(0).random((1, 8, 8, 3), dtype="float32")
    stem = keras.Model(tokenizer.encoder.input, tokenizer.encoder.get_layer("conv_in").output)
    patches = images.reshape(2, 4, 2, 4, 3).swapaxes(1, 2)
    expected = np.einsum("hwabc,abcd->hwd", patches, keras.ops.convert_to_numpy(kernel))
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(stem(images))[0], expected, atol=1e-5, rtol=1e-4
    )


def test_attention_stays_at_its_level_at_another_size(tmp_path):
    tokenizer = make(2, (1, 2), attention_resolutions=(4,), num_res_blocks=1)
    assert any("attention_0" in layer.name for layer in tokenizer.encoder.layers)
    tokenizer.save_to_preset(tmp_path / "preset")
    larger = keras_regvq.from_preset(str(tmp_path / "preset"), image_size=32)
    assert larger.attention_resolutions == (8,)
    assert len(larger.weights) == len(tokenizer.weights)
    images = np.random.default_rng(0).random((1, 32, 32, 3), dtype="float32")
    np.testing.assert_array_equal(larger.encode(images), tokenizer.encode(images))


def test_the_adaptive_weight_is_that_of_the_last_convolutions_kernel(rng):
    """Output (i p + j) 3 + c of the convolution is channel c of pixel (i, j) of the patch."""
    tokenizer, p, h = make(2, (1,)), 2, 3
    decoded = tokenizer.decoder(rng.normal(size=(2, h, h, 4)).astype("float32"))
    kernel = tokenizer.decoder.get_layer("conv_out").kernel
    gradients = [rng.normal(size=(2, p * h, p * h, 3)).astype("float32") for _ in range(2)]
    weight = adaptive_weight(
        decoded["hidden"], kernel, *map(keras.ops.convert_to_tensor, gradients)
    )

    hidden = keras.ops.convert_to_numpy(decoded["hidden"]).astype("float64")
    padded = np.pad(hidden, ((0, 0), (1, 1), (1, 1), (0, 0)))
    norms = []
    for gradient in gradients:
        of_kernel = np.zeros(tuple(kernel.shape))
        for i, j, channel, a, b in np.ndindex(p, p, 3, 3, 3):
            at_pixel = gradient[:, i::p, j::p, channel]
            seen = padded[:, a : a + h, b : b + h]
            of_kernel[a, b, :, (i * p + j) * 3 + channel] = np.einsum("nhwc,nhw->c", seen, at_pixel)
        norms.append(np.linalg.norm(of_kernel))
    expected = norms[0] / (norms[1] + 1e-4)
    np.testing.assert_allclose(float(keras.ops.convert_to_numpy(weight)), expected, rtol=1e-4)


@pytest.mark.eager
def test_both_players_train_on_patches(rng):
    trainer = TokenizerTrainer(make(), PatchDiscriminator(4, 1))
    trainer.compile(keras.optimizers.Adam(1e-3))
    log = trainer.fit(rng.random((4, 16, 16, 3), dtype="float32"), verbose=0).history
    assert np.isfinite(log["adaptive_weight"][0]) and log["adaptive_weight"][0] > 0


@pytest.mark.parametrize("format", ["taming", "diffusers"])
def test_projects_without_patches_are_not_written(format, tmp_path):
    with pytest.raises(ValueError, match="`tokenizer`.*patch_size=2.*patch_size=1"):
        export(make(2, (1,)), tmp_path / "out", format)
