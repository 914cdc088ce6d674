"""The benchmark of quality over time: its plain network, its measurements, and one tiny run."""

import io
import json
import subprocess

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from benchmarks import quality_curve, time_to_quality  # noqa: E402
from benchmarks.plain_torch.patch_autoencoder import PatchAutoencoder, Trainer  # noqa: E402
from benchmarks.plain_torch.port_weights import (  # noqa: E402
    copy_weights,
    patch_autoencoder_names,
    patch_order,
)
from benchmarks.quality_curve import measure  # noqa: E402
from benchmarks.quality_report import webp_at  # noqa: E402
from tests.benchmarks.plain_numbers import parameter_count  # noqa: E402


def test_the_plain_network_is_ours_in_size_and_output():
    import keras

    from keras_regvq.models import ImageTokenizer
    from keras_regvq.quantizers import VectorQuantizer

    plain = PatchAutoencoder(16, width=32).eval()
    ours = ImageTokenizer(
        32, VectorQuantizer(8, 16), base_channels=32, channel_multipliers=(1,), num_res_blocks=0,
        attention_resolutions=(), middle_attention=False, latent_channels=64, patch_size=4,
    )  # fmt: skip
    counted = ours.encoder.count_params() + ours.decoder.count_params()
    assert parameter_count(plain) == counted
    images = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype("float32")
    with torch.no_grad():
        for parameter in plain.parameters():  # so that no bias and no scale is at its start
            parameter.add_(0.02 * torch.randn_like(parameter))
        features = plain.encode(torch.tensor(images).permute(0, 3, 1, 2))
        expected = plain.decode(features).permute(0, 2, 3, 1).numpy()
        for parameter in plain.decoder["conv_out"].parameters():
            parameter.copy_(patch_order(parameter.clone(), 4))
    copy_weights(plain, patch_autoencoder_names(ours))
    result = keras.ops.convert_to_numpy(ours.decoder(ours.encoder(images))["images"])
    np.testing.assert_allclose(result, expected, atol=2e-4)


def test_muon_moves_the_hidden_convolutions_and_adam_the_rest():
    model = PatchAutoencoder(4, width=8)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    trainer = Trainer(model, steps=10, muon=True)
    trainer.step(np.random.default_rng(0).integers(256, size=(2, 16, 16, 3), dtype="uint8"))
    for name, parameter in model.named_parameters():
        moved = (parameter - before[name]).flatten(1) if parameter.ndim == 4 else None
        assert not torch.equal(parameter, before[name]), name
        if "blocks" in name and moved is not None:
            # An orthogonal matrix of 8 rows, in steps of 0.02 * 0.2 * sqrt(72): nearly so.
            values = torch.linalg.svdvals(moved) / (0.02 * 0.2 * 72**0.5)
            assert 0.5 < values.min() and values.max() < 1.4, name
        elif "conv_in" in name or name.startswith("decoder.conv_out"):
            assert (parameter - before[name]).abs().max() < 2.1e-3, name


def test_webp_has_the_highest_quality_that_fits():
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(256, size=(4, 4, 3), dtype="uint8"))
    image = np.asarray(coarse.resize((32, 32), Image.Resampling.BICUBIC))

    def size(quality):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "WEBP", quality=quality, method=6)
        return len(file.getvalue())

    most = size(60)
    decoded, taken = webp_at(image, most)
    assert taken <= most and decoded.shape == image.shape
    assert taken == max(s for s in map(size, range(101)) if s <= most)
    assert webp_at(image, 10)[1] == size(0) > 10


def test_measured_numbers_are_those_of_their_definitions():
    images = np.full((3, 16, 16, 3), 100, "uint8")
    tokens = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]])
    numbers = measure(images, np.full(images.shape, 110 / 255), tokens, 8)
    np.testing.assert_allclose(numbers["psnr"], 20 * np.log10(25.5), rtol=1e-5)
    assert numbers["codebook_usage"] == 0.25
    np.testing.assert_allclose(numbers["codebook_perplexity"], 2)


@pytest.mark.parametrize("kind", time_to_quality.OURS)
def test_ours_are_quantizers_of_as_many_codes(kind):
    assert quality_curve.our_quantizer(kind, 8, 0).codebook_size == 8
    assert time_to_quality.is_ours(f"{kind}-jax") and not time_to_quality.is_ours("cosine-vq-muon")


@pytest.mark.seldom
def test_one_command_measures_and_goes_on_with_what_is_missing(tmp_path, monkeypatch):
    tiny = [
        *("--steps", "2", "--every", "1", "--batch-size", "2", "--codes", "16", "--width", "8"),
        *("--image-size", "16", "--train-images", "4", "--test-images", "4"),
        *("--output", str(tmp_path), "--peers", "none", "--quantizers", "regvq"),
    ]
    start = subprocess.run

    def started(command, **options):  # the plain curve here, ours in a process of its own
        if "none" in command:
            return quality_curve.main(*map(str, command[3:]))
        return start(command, **options)

    monkeypatch.setattr(subprocess, "run", started)
    time_to_quality.main([*tiny, "--backends", "torch"])
    results = json.loads((tmp_path / "results.json").read_text())
    assert list(results["curves"]) == ["regvq-torch", "none"]
    for curve in results["curves"].values():
        assert [point["step"] for point in curve["points"]] == [1, 2]
        seconds = [curve["first_step"], *(point["seconds"] for point in curve["points"])]
        assert seconds == sorted(seconds) and seconds[0] > 0
        assert all(np.isfinite(point["psnr"]) for point in curve["points"])
    assert "codebook_usage" in results["curves"]["regvq-torch"]["points"][0]
    table = (tmp_path / "results.md").read_text()
    assert table.count("\n| regvq-torch |") == table.count("\n| none |") == 1
    for name in ("curves.png", "pictures.png"):
        Image.open(tmp_path / name).verify()

    def run_curve(name, *_):
        raise AssertionError(f"{name} is trained again")

    monkeypatch.setattr(time_to_quality, "run_curve", run_curve)
    time_to_quality.main([*tiny, "--backends", "torch"])
    assert json.loads((tmp_path / "results.json").read_text()) == results
    with pytest.raises(ValueError, match=r"other settings \(seed\)"):
        time_to_quality.main([*tiny, "--backends", "torch", "--seed", "1"])
