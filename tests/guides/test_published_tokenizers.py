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
    np.testing.assert_array_equal(
        namespace["small"].encode(namespace["images"]), namespace["tokens"]
    )
    assert len(np.unique(namespace["tokens"])) > 10


def test_going_on_helps_and_the_way_back_changes_nothing(guide):
    psnr = guide[0]["history"]["psnr"]
    assert psnr[-1] > psnr[0]
    assert "tokens changed: 0" in guide[1]
    assert "0 x" not in guide[1] and "64 codes" in guide[1]
