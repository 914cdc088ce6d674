"""FID's Inception and the metrics on it, against torch-fidelity with the same random weights."""

import importlib
import sys
from unittest import mock

import keras
import numpy as np
import pytest
import torch

from keras_regvq.metrics import FrechetDistance, ManifoldPrecision, ManifoldRecall
from keras_regvq.models import FIDInception

pytestmark = pytest.mark.seldom


@pytest.fixture(scope="module")
def torch_fidelity():
    """A function that imports torch-fidelity's modules: without torchvision, which these, unlike
    others, do not use."""
    parts = ("", ".datasets", ".transforms", ".transforms.functional")
    absent = {f"torchvision{part}": mock.MagicMock() for part in parts}
    with mock.patch.dict(sys.modules, absent):
        importlib.import_module("torch_fidelity")
        yield lambda name: importlib.import_module(f"torch_fidelity.{name}")


@pytest.fixture(scope="module")
def peer(tmp_path_factory, torch_fidelity):
    """torch-fidelity's network, and the file of random weights that it read."""
    network = torch_fidelity("feature_extractor_inceptionv3").FeatureExtractorInceptionV3
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "load_state_dict", lambda self, state: None)
        patch.setattr(torch, "load", lambda *arguments, **options: {})
        blank = network("blank", ["2048"], str(path))
    state = blank.state_dict()
    for name, tensor in state.items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith("conv.weight"):
            torch.nn.init.kaiming_normal_(tensor)
        elif name.endswith(("running_mean", "bn.bias")):
            tensor.normal_(0.0, 0.2)
    torch.save(state, path)
    outputs = ["2048", "logits_unbiased"]
    return network("inception", outputs, str(path)), path


@pytest.fixture(scope="module")
def images():
    """Small and large pictures, not all square, of smooth colours and noise."""
    rng = np.random.default_rng(0)
    shapes = [(6, 64, 64, 3), (2, 40, 90, 3), (1, 320, 310, 3)]
    return [rng.integers(0, 256, shape, dtype="uint8") for shape in shapes]


def theirs(peer, images):
    with torch.no_grad():
        outputs = peer(torch.tensor(images.transpose(0, 3, 1, 2)))
    return [output.numpy() for output in outputs]


@pytest.mark.parametrize("output, index", [("pool", 0), ("logits_unbiased", 1)])
def test_features_are_torch_fidelitys_at_any_size(peer, images, output, index):
    network, path = peer
    inception = FIDInception(path, output)
    for batch in images if output == "pool" else images[1:2]:
        expected = theirs(network, batch)[index]
        found = keras.ops.convert_to_numpy(inception(batch))
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_distances_are_torch_fidelitys(peer, images, torch_fidelity):
    network, path = peer
    fid, prc = torch_fidelity("metric_fid"), torch_fidelity("metric_prc")
    rng = np.random.default_rng(1)
    real, made = rng.standard_normal((2, 50, 12))
    made = made * 1.2 + 0.3
    statistics = [fid.fid_features_to_statistics(torch.tensor(values)) for values in (real, made)]
    expected = fid.fid_statistics_to_metric(*statistics, verbose=False)[
        "frechet_inception_distance"
    ]
    metric = FrechetDistance()
    metric.update_state(real, made)
    assert float(metric.result()) == pytest.approx(expected, rel=1e-4)

    theirs_prc = prc.prc_features_to_metric(
        torch.tensor(made), torch.tensor(real), prc_neighborhood=3, prc_batch_size=20, verbose=False
    )
    for metric, name in ((ManifoldPrecision(), "precision"), (ManifoldRecall(), "recall")):
        metric.update_state(real, made)
        assert float(metric.result()) == pytest.approx(theirs_prc[name], abs=1e-6)

    metric = FrechetDistance(FIDInception(path))  # the whole of it, images to distance
    metric.update_state(images[0][:4], images[0][2:])
    pools = [torch.tensor(theirs(network, images[0][part])[0]) for part in (slice(4), slice(2, 6))]
    low_rank = [values.numpy().astype("float64") for values in pools]
    copy = FrechetDistance()
    copy.update_state(*low_rank)
    assert float(metric.result()) == pytest.approx(float(copy.result()), rel=1e-3)


def test_wrong_files_are_named(tmp_path):
    with pytest.raises(ValueError, match="a file that exists"):
        FIDInception(tmp_path / "none.pth")
    torch.save({"fc.weight": torch.zeros(1008, 2048)}, tmp_path / "part.pth")
    with pytest.raises(ValueError, match="without the tensor 'Conv2d_1a_3x3.conv.weight'"):
        FIDInception(tmp_path / "part.pth")
    with pytest.raises(ValueError, match="output"):
        FIDInception(output="softmax")
