"""EfficientNet-Lite0's features are those of the PyTorch port with the same weights."""

import keras
import numpy as np
import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from keras import ops

from keras_regvq.models import EfficientNetLite0Features


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """The PyTorch port with random weights and statistics, and a file of them."""
    torch.manual_seed(0)
    network = EfficientNet.from_name("efficientnet-lite0", image_size=None).eval()
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2.0)
            elif name.endswith(("running_mean", "bias")):
                tensor.normal_(0.0, 0.3)
    path = tmp_path_factory.mktemp("weights") / "lite0.pth"
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=False)
    return network, path


@pytest.mark.parametrize("size", [(64, 64), (37, 50)])
def test_features_are_the_ports(port, size, rng):
    network, path = port
    images = rng.random((2, *size, 3), dtype="float32")
    mean, deviation = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    normalized = torch.tensor(((images - mean) / deviation).transpose(0, 3, 1, 2))
    with torch.no_grad():
        head = network.extract_features(normalized).numpy().transpose(0, 2, 3, 1)
    features = EfficientNetLite0Features(path)(ops.convert_to_tensor(images))
    assert [f.shape[-1] for f in features] == [16, 24, 40, 112, 1280]
    assert [f.shape[1] for f in features] == [-(-size[0] // 2**k) for k in range(1, 6)]
    found = ops.convert_to_numpy(features[-1])
    assert np.abs(found - head).max() < 1e-4 * np.abs(head).max()
    assert head.std() > 0.01


def test_random_weights_follow_the_seed_and_a_config_makes_the_same(rng):
    images = rng.integers(0, 256, (1, 32, 32, 3), dtype="uint8")

    def head(extractor):
        return ops.convert_to_numpy(extractor(images)[0])

    first = EfficientNetLite0Features(layer_names=("block_5",), seed=1)
    expected = head(first)
    assert expected.shape == (1, 2, 2, 80) and expected.std() > 0
    copy = EfficientNetLite0Features.from_config(first.get_config())
    np.testing.assert_array_equal(head(copy), expected)
    other = EfficientNetLite0Features(layer_names=("block_5",), seed=2)
    assert np.abs(head(other) - expected).max() > 1e-3


def test_without_a_seed_weights_are_random_and_keras_decides(rng):
    images = rng.integers(0, 256, (1, 32, 32, 3), dtype="uint8")

    def head():
        extractor = EfficientNetLite0Features(layer_names=("block_5",))
        return ops.convert_to_numpy(extractor(images)[0])

    keras.utils.set_random_seed(1)
    first, second = head(), head()
    keras.utils.set_random_seed(1)
    np.testing.assert_array_equal(head(), first)
    assert np.abs(second - first).max() > 1e-3


def test_wrong_files_are_named(tmp_path):
    with pytest.raises(ValueError, match="a file that exists"):
        EfficientNetLite0Features(tmp_path / "none.pth")
    torch.save({"_conv_stem.weight": torch.zeros(32, 3, 3, 3)}, tmp_path / "part.pth")
    with pytest.raises(ValueError, match="without the tensor '_bn0.weight'"):
        EfficientNetLite0Features(tmp_path / "part.pth")
    torch.save({"_conv_stem.weight": torch.zeros(32, 3, 5, 5)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"shape \(32, 3, 5, 5\)"):
        EfficientNetLite0Features(tmp_path / "other.pth")
    (tmp_path / "noise.pth").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="cannot be read"):
        EfficientNetLite0Features(tmp_path / "noise.pth")
