"""The guide to published tokenizers runs, and what it says holds."""

import re
from pathlib import Path

import numpy as np
import pytest

NAME = "published_tokenizers"


@pytest.fixture(scope="module")
def guide(run_guide):
    return run_guide(NAME)


def test_it_makes_the_pages_pictures(guide):
    page = (Path(__file__).parent.parent.parent / "guides" / f"{NAME}.md").read_text()
    assert [picture.name for picture in guide[2]] == re.findall(r"\(pictures/([^)]+)\)", page)


def test_the_checkpoint_gives_the_tokens_of_the_model_that_it_was_made_of(guide):
    namespace = guide[0]
    tokens = namespace["ours"].encode(namespace["images"])
    np.testing.assert_array_equal(namespace["tokens"], tokens)
    assert len(np.unique(tokens)) > 100
    np.testing.assert_array_equal(namespace["tokenizer"].encode(namespace["images"]), tokens)


def test_it_shows_the_summary_and_what_diffusers_cannot_hold(guide):
    assert "64 x 64 pixels to 16 x 16 tokens of 512 codes" in guide[1]
    assert "a VectorQuantizer" in guide[1]
