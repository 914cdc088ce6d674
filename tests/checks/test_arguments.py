"""Checks of single arguments: what passes comes back in one form, all else is named."""

import subprocess
import sys

import numpy as np
import pytest

from keras_regvq.checks.arguments import (
    check_choice,
    check_grid,
    check_integer,
    check_integers,
    check_number,
    check_positive_integer,
    check_seed,
    check_size,
    refuse,
)


def test_a_refusal_names_argument_received_and_expected():
    expected = "Argument `mask` is wrong. Received: 3. Expected: an array."
    with pytest.raises(ValueError) as error:
        refuse("mask", 3, "an array")
    assert str(error.value) == expected


@pytest.mark.parametrize(
    "check, value, expected",
    [
        (lambda v: check_integer("n", v, 0), np.int64(0), 0),
        (lambda v: check_positive_integer("n", v), np.uint8(3), 3),
        (lambda v: check_integers("n", v, 1), [np.int64(1), 2], (1, 2)),
        (lambda v: check_seed("n", v, most=None), np.int64(2**40), 2**40),
        (lambda v: check_seed("n", v), None, None),
        (lambda v: check_number("n", v), np.float32(0.5), 0.5),
        (lambda v: check_number("n", v, 0, 1), 1, 1.0),
        (lambda v: check_size("n", v), 5, (5, 5)),
        (lambda v: check_size("n", v, 4), [4, np.int32(6)], (4, 6)),
        (lambda v: check_grid("n", v), 3, (3, 3)),
        (lambda v: check_grid("n", v), (3, 4), (3, 4)),
        (lambda v: check_choice("n", v, ("a", None)), None, None),
    ],
)
def test_what_fits_comes_back_as_plain_python(check, value, expected):
    found = check(value)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    "check, wrong",
    [
        (lambda v: check_integer("n", v, 2), (1, True, 2.0, "2", None)),
        (lambda v: check_positive_integer("n", v), (0, -1, False, 1.5)),
        (lambda v: check_integers("n", v, 1, fewest=1), (2, (0,), "12", (), None, (1.0,))),
        (lambda v: check_seed("n", v), (-1, True, 1.5, "a", 2**31)),
        (lambda v: check_number("n", v, 0, 1), (-0.1, 1.1, np.nan, np.inf, True, "1", None)),
        (lambda v: check_size("n", v, 4), (3, (4, 3), (4, 4, 4), True, 4.0, "4")),
        (lambda v: check_grid("n", v), (0, (1, 0), (1, 1, 1), 2.0)),
        (lambda v: check_choice("n", v, ("a", "b")), ("c", None, 1, ["a"])),
    ],
)
def test_what_does_not_fit_is_named(check, wrong):
    for value in wrong:
        with pytest.raises(ValueError, match="^Argument `n` is wrong. Received: "):
            check(value)


def test_they_do_without_keras():
    code = "import sys; sys.modules['keras'] = None; import keras_regvq.checks.arguments"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
