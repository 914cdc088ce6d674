"""Damaged checkpoints and exports of other projects, read as a user would.

    python -m benchmarks.robustness.fuzz_checkpoints --count 1000

Files of taming-transformers, LlamaGen, SEED-Voken and open-muse (zip and legacy `.ckpt`,
`.safetensors`, a YAML beside) and folders of diffusers are damaged: bits turned, cut, parts
repeated; numbers, sizes and names in them replaced by wrong ones; instructions put into their
pickles. Each is read by `from_preset`, by `load_foreign`, or by the convert command. It prints how
many were read and refused, and each finding, and ends with 1 if there is one: a crash, a hang, more
than 1 GB of memory, or an error that does not name the file.
"""

import argparse
import json
import random
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import yaml

from benchmarks.robustness import fuzzing
from benchmarks.robustness.damage import (
    damage_bytes,
    damage_pickle,
    damage_safetensors,
    damage_text,
    damage_zip,
)

KINDS = (
    "zip", "legacy", "pickle", "safetensors", "llamagen", "seed_voken", "diffusers", "bin", "yaml",
    "open_muse",
)  # fmt: skip
WEIGHTS = "diffusion_pytorch_model"


def write_originals(root):
    """A small file or folder of each kind."""
    import torch

    from keras_regvq import models, presets, quantizers
    from keras_regvq.presets.formats.llamagen import llamagen_state_dict
    from keras_regvq.presets.formats.maskgit_network import published_shapes
    from keras_regvq.presets.formats.seed_voken import seed_voken_state_dict
    from keras_regvq.presets.formats.taming import taming_state_dict

    def tokenizer(kind=quantizers.VectorQuantizer, **options):
        return models.ImageTokenizer(8, kind(16, 4, **options), 8, (1, 1), 1, (4,), 4)

    def state(tensors):
        return {name: torch.from_numpy(array) for name, array in tensors.items()}

    plain, unit = tokenizer(), tokenizer(normalize=True)
    tensors = state(taming_state_dict(plain))
    whole = {"state_dict": tensors, "epoch": 3, "best": np.float64(0.5), "optimizer": {"state": {}}}
    torch.save(whole, root / "zip.ckpt")
    torch.save(whole, root / "legacy.ckpt", _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(root / "zip.ckpt") as archive:
        (root / "pickle.pkl").write_bytes(
            archive.read(next(n for n in archive.namelist() if n.endswith("data.pkl")))
        )
    torch.save({"model": state(llamagen_state_dict(unit))}, root / "llamagen.pt")
    ibq = seed_voken_state_dict(tokenizer(quantizers.IndexBackpropagationQuantizer))
    torch.save({"state_dict": state(ibq)}, root / "seed_voken.ckpt")
    sizes = {"base_channels": 8, "channel_multipliers": (1, 2), "latent_channels": 4}
    shapes = published_shapes({**sizes, "codebook_size": 16, "embedding_dim": 4})
    # Groups of 32 do not divide 8 channels, which is of no matter to a reader.
    torch.save({name: torch.randn(shape) for name, shape in shapes.items()}, root / "open_muse.bin")
    presets.export(plain, root / "taming", "taming")
    shutil.move(root / "taming" / "model.safetensors", root / "safetensors.safetensors")
    presets.export(plain, root / "diffusers", "diffusers")
    shutil.copytree(root / "diffusers", root / "bin")
    (root / "bin" / f"{WEIGHTS}.safetensors").unlink()
    from safetensors.torch import load_file

    torch.save(
        load_file(root / "diffusers" / f"{WEIGHTS}.safetensors"), root / f"bin/{WEIGHTS}.bin"
    )
    network = {
        "double_z": False, "z_channels": 4, "resolution": 8, "in_channels": 3, "out_ch": 3, "ch": 8,
        "ch_mult": [1, 1], "num_res_blocks": 1, "attn_resolutions": [4], "dropout": 0.0,
    }  # fmt: skip
    params = {"embed_dim": 4, "n_embed": 16, "ddconfig": network}
    (root / "yaml.yaml").write_text(yaml.safe_dump({"model": {"params": params}}))


def _yaml(value):
    try:
        return yaml.safe_dump(value)
    except RecursionError:  # PyYAML writes no deep nesting, which others do
        return "model: " + "[" * 10**5 + "]" * 10**5


def make_case(number, root):
    """Write the case of a number; a folder of a kind's name holds it."""
    rng = random.Random(number)
    kind = KINDS[number % len(KINDS)]
    original = next(root.glob(f"{kind}*"))
    path = root / "cases" / f"case_{number}_{original.name}"
    if path.is_dir():
        shutil.rmtree(path)
    path.parent.mkdir(exist_ok=True)
    if original.is_dir():
        shutil.copytree(original, path)
        config = path / "config.json"
        weights = next(path.glob(f"{WEIGHTS}*"))
        data = weights.read_bytes()
        if rng.random() < 0.5:
            config.write_bytes(damage_text(config.read_text(), rng, json.loads, json.dumps))
        elif weights.suffix == ".bin":
            damage_zip(data, rng, weights)
        else:
            weights.write_bytes(damage_safetensors(data, rng))
    elif kind in ("zip", "llamagen", "open_muse", "seed_voken"):
        damage_zip(original.read_bytes(), rng, path)
    elif kind == "yaml":
        path.write_bytes(damage_text(original.read_text(), rng, yaml.safe_load, _yaml))
    elif kind == "safetensors":
        path.write_bytes(damage_safetensors(original.read_bytes(), rng))
    else:
        damage = damage_pickle if rng.random() < 0.6 else damage_bytes
        path.write_bytes(damage(original.read_bytes(), rng))
    return path


def read(path, root):
    """Read a case in one of the ways in which a user does."""
    import keras_regvq
    from keras_regvq.__main__ import main as command

    number = int(path.name.split("_")[1])
    if path.suffix == ".yaml":
        keras_regvq.from_preset(root / "zip.ckpt", config=path)
    elif number % 3 == 0:
        keras_regvq.from_preset(path)
    elif number % 3 == 1:
        keras_regvq.presets.load_foreign(path, image_size=8)
    else:
        try:
            command(["convert", str(path), str(root / f"converted_{number}")])
        except SystemExit as error:  # which is how a command ends with an error
            raise ValueError(error.code) from error
        finally:
            shutil.rmtree(root / f"converted_{number}", ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case [0]")
    parser.add_argument("--keep", type=Path, help="folder for the files, which stay there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = args.keep or Path(scratch)
        root.mkdir(parents=True, exist_ok=True)
        write_originals(root)
        raise SystemExit(
            fuzzing.report(
                *fuzzing.fuzz(
                    lambda number: make_case(number, root),
                    lambda path: read(path, root),
                    args.count,
                    args.first,
                )
            )
        )


if __name__ == "__main__":
    main()
