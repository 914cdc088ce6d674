"""Saved models give what they gave when `results.py` was run."""

import os

import numpy as np
import pytest

from tests.golden import results


@pytest.fixture(scope="module")
def expected():
    if os.environ.get("WRITE_GOLDEN"):
        results.write(os.environ["WRITE_GOLDEN"])
    return results.expected()


@pytest.mark.one_backend
@pytest.mark.parametrize("part", results.PARTS, ids=lambda part: part.__name__)
def test_saved_models_give_what_they_gave(part, expected):
    found = part()
    assert {f"{part.__name__}/{key}" for key in found} == {
        name for name in expected if name.startswith(f"{part.__name__}/")
    }
    for key, value in found.items():
        wanted = expected[f"{part.__name__}/{key}"]
        if "sampled" in key:
            # Another processor's last bit may turn one draw, and with it all later ones of a row.
            equal = [np.array_equal(a, b) for a, b in zip(value, wanted, strict=True)]
            assert sum(equal) >= len(equal) - 1, key
        elif np.issubdtype(wanted.dtype, np.integer):
            assert np.mean(value == wanted) > 0.999, key
        else:
            np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-5, err_msg=key)


def test_the_backends_gave_the_same_tokens_and_images(expected):
    for other in ("tensorflow", "jax", "torch"):
        theirs = dict(np.load(results.FOLDER / f"{other}.npz"))
        for name in expected:
            if name.endswith("tokens"):
                np.testing.assert_array_equal(expected[name], theirs[name], err_msg=name)
            elif name.endswith("decoded") and not name.startswith("backup"):
                np.testing.assert_allclose(expected[name], theirs[name], atol=1e-4, err_msg=name)
