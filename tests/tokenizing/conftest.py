import numpy as np
import pytest
from PIL import Image

import keras_regvq


@pytest.fixture(scope="session")
def preset(tmp_path_factory):
    """A preset of an untrained tokenizer: 16 pixels, 4 x 4 tokens of 8 codes."""
    tokenizer = keras_regvq.models.ImageTokenizer(
        16,
        keras_regvq.quantizers.VectorQuantizer(8, 4),
        base_channels=8,
        channel_multipliers=(1,),
        num_res_blocks=0,
        attention_resolutions=(),
        latent_channels=8,
        middle_attention=False,
        patch_size=4,
    )
    path = str(tmp_path_factory.mktemp("presets") / "tokenizer")
    tokenizer.save_to_preset(path)
    return path


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder of 11 pictures, one of which turns out broken when it is decoded."""
    root = tmp_path_factory.mktemp("data") / "photos"
    root.mkdir()
    for number, image in enumerate(keras_regvq.data.scenes(11, size=24)["images"]):
        Image.fromarray(image).save(root / f"{number:02}.png")
    data = (root / "05.png").read_bytes()
    (root / "05.png").write_bytes(data[: len(data) // 2])
    return root


@pytest.fixture
def scenes():
    found = keras_regvq.data.scenes(7, size=16)
    return {name: np.asarray(found[name]) for name in ("images", "labels", "captions")}
