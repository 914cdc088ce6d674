import keras
import pytest

from tests.quantizers.reference import ScriptedDraws


@pytest.fixture
def script(monkeypatch, rng):
    """Replace the layers' uniform draws by given ones, and return them."""

    def install(sampled_count, **shape):
        draws = ScriptedDraws(rng, sampled_count, **shape)
        monkeypatch.setattr(keras.random, "uniform", draws)
        return draws

    return install


@pytest.fixture
def no_randomness(monkeypatch):
    """Fail at any random draw."""

    def refuse(*arguments, **keywords):
        raise AssertionError("a random number was drawn")

    for name in ("uniform", "normal", "categorical", "shuffle", "randint"):
        monkeypatch.setattr(keras.random, name, refuse)


@pytest.fixture
def policy():
    """Set the global dtype policy, and set the old one back afterwards."""
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)
