"""The guide from maps to pictures runs, and what it says holds."""

import re
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.seldom

NAME = "from_maps_to_pictures"


@pytest.fixture(scope="module")
def guide(run_guide):
    return run_guide(NAME)


def test_it_makes_the_pages_pictures(guide):
    page = (Path(__file__).parent.parent.parent / "guides" / f"{NAME}.md").read_text()
    assert [picture.name for picture in guide[2]] == re.findall(r"\(pictures/([^)]+)\)", page)


def test_the_small_prior_learns(guide):
    bits = guide[0]["history"]["bits_per_token"]
    assert bits[0] < 9.2 and bits[-1] < bits[0] - 0.3


def test_the_trained_prior_knows_more_than_the_small_one(guide):
    bits = float(re.search(r"held-out bits per token: ([\d.]+)", guide[1])[1])
    assert bits < guide[0]["history"]["bits_per_token"][-1]


def test_samples_differ_and_stay_with_their_map(guide):
    namespace = guide[0]
    samples = namespace["samples"]
    assert np.abs(samples[0] - samples[1]).mean() > 0.02
    # The sky of a picture is not the ground's colour: what the map says is painted there.
    sky = namespace["maps"] == 0
    for image in samples:
        inside = [picture[mask].mean(0) for picture, mask in zip(image, sky, strict=True)]
        outside = [picture[~mask].mean(0) for picture, mask in zip(image, sky, strict=True)]
        assert np.mean(np.abs(np.array(inside) - np.array(outside))) > 0.08


def test_repainting_leaves_the_rest_as_it_was(guide):
    namespace = guide[0]
    tokenizer = namespace["painter"].tokenizer
    before, after = (namespace[name] for name in ("before", "after"))
    far = ~namespace["mask"][0]
    far[:28, 24:] = False  # the decoder spreads a token over its neighbours
    rebuilt = tokenizer.reconstruct(before)
    assert np.abs(after - rebuilt)[:, far].mean() < 0.02
    assert np.abs(after - rebuilt)[namespace["mask"]].mean() > 0.05
