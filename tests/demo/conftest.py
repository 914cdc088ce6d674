"""A page served with models small enough to answer at once."""

import asyncio
import json
import threading
import time
import urllib.error
import urllib.request

import pytest
import uvicorn

from keras_regvq import models
from keras_regvq.demo.server import make_app
from tests.models.generators.test_text_to_image import make_model
from tests.models.priors.tiny_prior import make_image_tokenizer, make_map_prior, randomize


@pytest.fixture(scope="session")
def presets(tmp_path_factory):
    """Folders of a generator of maps, one of captions, and a tokenizer: 16 x 24 pixels."""
    folder = tmp_path_factory.mktemp("presets")
    tokenizer = randomize(make_image_tokenizer())
    found = {
        "draw": models.SemanticToImage(tokenizer, make_map_prior(condition_dropout=0.1)),
        "words": make_model(),
        "tokens": randomize(make_image_tokenizer(), seed=1),
    }
    for name, model in found.items():
        model.save_to_preset(str(folder / name))
    return {name: str(folder / name) for name in found}


@pytest.fixture(scope="session")
def address(presets):
    config = uvicorn.Config(make_app(presets.values()), port=0, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(20)


@pytest.fixture(scope="session")
def ask(address):
    """Asks the server: (status, answer); of bytes that are no dict, as they are."""

    def ask(path, question=None):
        data = question if isinstance(question, (bytes, type(None))) else json.dumps(question)
        data = data.encode() if isinstance(data, str) else data
        try:
            with urllib.request.urlopen(address + path, data) as response:
                status, body = response.status, response.read()
        except urllib.error.HTTPError as error:
            status, body = error.code, error.read()
        lines = [json.loads(line) for line in body.decode().splitlines()]
        return status, lines if path == "/api/write" and status == 200 else lines[0]

    return ask
