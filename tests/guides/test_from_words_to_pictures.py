"""The guide from words to pictures runs, and what it says holds."""

import re
from pathlib import Path

import numpy as np
import pytest

NAME = "from_words_to_pictures"


@pytest.fixture(scope="module")
def guide(run_guide):
    return run_guide(NAME)


def test_it_makes_the_pages_pictures(guide):
    page = (Path(__file__).parent.parent.parent / "guides" / f"{NAME}.md").read_text()
    assert [picture.name for picture in guide[2]] == re.findall(r"\(pictures/([^)]+)\)", page)


def test_the_masked_share_is_nine_tenths_of_what_is_gone(guide):
    shares = [int(share) for share in re.findall(r"step \d+: (\d+)% masked", guide[1])]
    np.testing.assert_allclose(shares, [0, 22.5, 45, 67.5], atol=3)


def test_the_small_prior_learns(guide):
    losses = guide[0]["history"]["cross_entropy"]
    assert losses[-1] < losses[0] - 0.1


def test_captions_decide_the_time_of_day(guide):
    bright, dark = (np.stack([s[i] for s in guide[0]["samples"]]).mean() for i in (0, 1))
    assert bright > dark + 0.15


def test_repainting_leaves_the_rest_as_it_was(guide):
    namespace = guide[0]
    rebuilt = namespace["tokenizer"].reconstruct(namespace["samples"][0])
    difference = np.abs(namespace["repainted"] - rebuilt)
    assert difference[:, :24].mean() < 0.02 < difference[:, 40:].mean()
