"""What saved models gave once, so that no later version gives anything else.

    WRITE_GOLDEN=regvq_preset KERAS_BACKEND=torch pytest tests/golden

writes to `<backend>.npz` what one of the `PARTS` gives; `files`, on PyTorch, writes `files/` anew,
and `all` everything. Do that only where other results are meant, and say so in the commit.
"""

import tempfile
from pathlib import Path

import keras
import numpy as np

import keras_regvq
from keras_regvq import models
from keras_regvq.presets import load_net2net
from keras_regvq.training import Backup
from tests.models.priors.tiny_diffusion import make_diffusion_prior
from tests.models.priors.tiny_prior import CLASSES, make_map_prior, random_maps, randomize
from tests.presets.formats import (
    open_muse_models,
    peer_models,
    seed_voken_models,
    test_net2net,
)
from tests.training.conftest import make_tokenizer, make_trainer

FOLDER = Path(__file__).parent
FILES = FOLDER / "files"
BACKEND = keras.backend.backend()


def expected():
    return dict(np.load(FOLDER / f"{BACKEND}.npz"))


def of_tokenizer(tokenizer, images):
    tokens = tokenizer.encode(images)
    return {"tokens": tokens.astype("uint16"), "decoded": tokenizer.decode(tokens)}


def regvq_preset():
    images = keras_regvq.data.scenes(4, size=64, split="test")["images"]
    found = of_tokenizer(keras_regvq.from_preset("regvq_scenes_64"), images)
    return {"tokens": found["tokens"], "decoded": found["decoded"][:2]}


def semantic_preset():
    maps = keras_regvq.data.scenes(4, size=64, split="test")["labels"]
    generator = keras_regvq.from_preset("semantic_scenes_64")
    return {"sampled": generator.prior.generate(maps, seed=3).astype("uint16")}


def text_preset():
    prompts = keras_regvq.data.scenes(4, size=64, split="test")["captions"]
    generator = keras_regvq.from_preset("text_scenes_64")
    words = generator.text_encoder.encode(prompts)
    tokens = generator.prior.generate(words, num_steps=6, guidance_scale=2.0, seed=3)
    return {"sampled": tokens.astype("uint16")}


def keras_files():
    images = np.random.default_rng(0).random((3, 16, 24, 3), dtype="float32")
    found = of_tokenizer(keras.models.load_model(FILES / "tokenizer.keras"), images)
    prior = keras.models.load_model(FILES / "autoregressive.keras")
    found["autoregressive_sampled"] = prior.generate(random_maps(4), seed=3)
    prior = keras.models.load_model(FILES / "discrete.keras")
    found["discrete_sampled"] = prior.generate(np.arange(4), num_steps=6, seed=3)
    prior = keras.models.load_model(FILES / "gaussian.keras")
    found["gaussian_sampled"] = prior.generate(np.arange(4), num_steps=5, seed=3)
    return found


def backup():
    """The state that a run left after an epoch, in a trainer that knows nothing of it."""
    trainer = new_trainer(seed=2)
    with tempfile.TemporaryDirectory() as folder:
        Backup(folder, start=FILES / "state.npz").restore(trainer)
    images = np.random.default_rng(0).random((3, 16, 16, 3), dtype="float32")
    moments = [np.abs(keras.ops.convert_to_numpy(v)).sum() for v in trainer.optimizer.variables]
    return {**of_tokenizer(trainer.tokenizer, images), "moments": np.array(moments)}


def foreign_files():
    """Tokenizers of other projects, with random weights that do not change."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, path in write_foreign(Path(folder)).items():
            size = 32 if name != "diffusers" else 16
            tokenizer = keras_regvq.from_preset(path, image_size=size)
            part = of_tokenizer(tokenizer, peer_models.images(size))
            found |= {f"{name}_{key}": value for key, value in part.items()}
        file, _ = test_net2net.checkpoint(Path(folder), maps=True)
        tokenizer, prior, _ = load_net2net(file, test_net2net.HEADS, image_size=16)
    maps = np.random.default_rng(2).integers(0, test_net2net.CLASSES, (2, 16, 16))
    found["net2net_sampled"] = prior.generate(maps, temperature=0)
    return found


def ibq_and_maskgit():
    """Formats that came later."""
    import torch

    found = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = {"ibq": Path(folder) / "ibq.ckpt", "maskgit": Path(folder) / "maskgit"}
        torch.save({"state_dict": seed_voken_models.trained_state()}, paths["ibq"])
        open_muse_models.open_muse_model().save(paths["maskgit"])
        for name, path in paths.items():
            tokenizer = keras_regvq.from_preset(path, image_size=32)
            part = of_tokenizer(tokenizer, peer_models.images(32))
            found |= {f"{name}_{key}": value for key, value in part.items()}
    return found


def write_foreign(folder):
    import torch

    paths = {name: folder / f"{name}.ckpt" for name in ("taming", "gumbel", "llamagen")}
    state = peer_models.taming_model().state_dict()
    torch.save({"state_dict": state}, paths["taming"])
    torch.save({"state_dict": peer_models.taming_model(gumbel=True).state_dict()}, paths["gumbel"])
    state = peer_models.llamagen_layout(peer_models.llamagen_model().state_dict())
    torch.save({"model": state}, paths["llamagen"])
    peer_models.diffusers_model().save_pretrained(folder / "diffusers")
    return {**paths, "diffusers": folder / "diffusers"}


def new_trainer(seed):
    keras.utils.set_random_seed(seed)
    trainer = make_trainer(features=False, tokenizer=make_tokenizer())
    averages = {"use_ema": True, "ema_momentum": 0.8}
    trainer.compile(keras.optimizers.Adam(1e-2, **averages), keras.optimizers.SGD(1e-2, 0.9))
    return trainer


def write_files():
    FILES.mkdir(exist_ok=True)
    trainer = new_trainer(seed=1)
    images = np.random.default_rng(1).random((8, 16, 16, 3), dtype="float32")
    with tempfile.TemporaryDirectory() as folder:
        kept = Backup(folder)
        trainer.fit(images, batch_size=4, verbose=0, callbacks=[kept])
        kept.finish(keep=FILES / "state.npz")
    tokenizer = randomize(make_tokenizer(attention_resolutions=(8,)))
    tokenizer.save(FILES / "tokenizer.keras")
    make_map_prior().save(FILES / "autoregressive.keras")
    for process in ("discrete", "gaussian"):
        prior = make_diffusion_prior(process, models.ClassCondition(CLASSES))
        prior.save(FILES / f"{process}.keras")


PARTS = (
    *(regvq_preset, semantic_preset, text_preset, keras_files, backup, foreign_files),
    ibq_and_maskgit,
)


def write(name):
    if name in ("files", "all") and BACKEND == "torch":
        write_files()
    path = FOLDER / f"{BACKEND}.npz"
    results = expected() if path.exists() else {}
    for part in PARTS:
        if name in (part.__name__, "all"):
            results = {k: v for k, v in results.items() if not k.startswith(f"{part.__name__}/")}
            results |= {f"{part.__name__}/{key}": value for key, value in part().items()}
    np.savez_compressed(path, **results)
