import pytest


@pytest.fixture(autouse=True)
def _seeded():
    torch = pytest.importorskip("torch")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
