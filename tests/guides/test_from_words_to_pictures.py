"""The guide from words to pictures runs, and what it says holds."""

import re
from pathlib import Path

import numpy as np
import pytest

from keras_regvq import models

pytestmark = pytest.mark.seldom

NAME = "from_words_to_pictures"


@pytest.fixture(scope="module")
def guide(run_guide):
    """Run with three sampling steps, for time: the page has as many as it says."""
    generate = models.TextToImage.generate

    def in_three_steps(self, *args, **options):
        return generate(self, *args, **{**options, "num_steps": 3})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models.TextToImage, "generate", in_three_steps)
        return run_guide(NAME)


def test_it_makes_the_pages_pictures(guide):
    page = (Path(__file__).parent.parent.parent / "guides" / f"{NAME}.md").read_text()
    assert [picture.name for picture in guide[2]] == re.findall(r"\(pictures/([^)]+)\)", page)


def test_words_have_numbers_and_unknown_ones_share_one(guide):
    encoder, captions = guide[0]["encoder"], guide[0]["captions"]
    words = {word for caption in captions for word in caption.decode().replace(",", "").split()}
    assert encoder.vocabulary_size > len(words)
    known, other = encoder.encode(["a boat"])[0], encoder.encode(["a tree"])[0]
    assert known[0] == other[0] and known[1] != other[1]


def test_noise_masks_more_and_more_until_nothing_is_left(guide):
    namespace = guide[0]
    shares = namespace["masked"].mean(axis=(1, 2))
    assert (np.diff(shares) > 0).all() and shares[0] < 0.02
    kept = (namespace["noised"] == namespace["tokens"]).mean(axis=(1, 2))
    assert kept[0] > 0.95 and kept[-1] < 0.02


def test_the_small_prior_learns(guide):
    losses = guide[0]["history"]["cross_entropy"]
    assert np.mean(losses[-8:]) < np.mean(losses[:8]) - 0.15


def test_samples_differ_and_show_the_time_of_day(guide):
    samples = np.stack(guide[0]["samples"])  # 3 seeds, 4 prompts
    assert np.abs(samples[0] - samples[1]).mean() > 0.02
    night, day = samples[:, 0].mean(), samples[:, 1].mean()
    assert night < 0.7 * day


def test_repainting_leaves_the_lower_half_as_it_was(guide):
    namespace = guide[0]
    rebuilt = namespace["painter"].tokenizer.reconstruct(namespace["before"])
    difference = np.abs(namespace["after"] - rebuilt)
    assert difference[:, 40:].mean() < 0.02  # the decoder spreads a token over its neighbours
    assert difference[:, :32].mean() > 0.02
