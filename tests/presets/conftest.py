import http.server
import threading

import huggingface_hub
import huggingface_hub.constants
import kagglehub.clients
import kagglesdk.kaggle_env
import pytest

from tests.presets.hub_server import Hub
from tests.presets.kaggle_server import Kaggle


def started(handler):
    """A server on a port of its own, and its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_address[1]}"


@pytest.fixture
def hub_server(tmp_path, monkeypatch):
    """A server of class `Hub`, which huggingface_hub takes for the hub, logged in."""
    server, endpoint = started(Hub)
    server.root, server.token, server.requests, server.large = tmp_path / "hub", "mine", [], {}
    server.root.mkdir()
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", server.token)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def hub(hub_server):
    """Its directory, a folder a repository."""
    return hub_server.root


@pytest.fixture
def kaggle(tmp_path, monkeypatch):
    """A server of class `Kaggle`, which kagglehub takes for the hub, logged in."""
    server, endpoint = started(Kaggle)
    server.token, server.blobs, server.models, server.variations = "mine", {}, [], {}
    environment = kagglesdk.kaggle_env.KaggleEnv.PROD
    monkeypatch.setitem(kagglesdk.kaggle_env._env_to_endpoint, environment, endpoint)
    monkeypatch.setenv("KAGGLE_API_TOKEN", server.token)
    # It looks through the stack of calls, tens of them in a test, for names of libraries.
    monkeypatch.setattr(kagglehub.clients, "get_user_agent", lambda: "kagglehub")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    yield server
    server.shutdown()
    server.server_close()
