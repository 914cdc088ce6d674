# %% [markdown]
# # Use a published VQ-GAN in Keras
#
# Trained VQ-GANs are published as PyTorch checkpoints, of taming-transformers, diffusers,
# LlamaGen, SEED-Voken (IBQ) and open-muse (MaskGIT). Here they are presets: the same tokens and
# the same images on TensorFlow, JAX and PyTorch, `fit`, and ONNX files. This guide loads one, looks
# at what it does, writes it in other projects' formats and takes it out of Keras altogether.
#
# This page is a script, `guides/published_tokenizers.py`, and what it shows came out of one run of
# it.

# %%
import contextlib
import os
import tempfile
from pathlib import Path

import numpy as np

import keras_regvq
from keras_regvq import presets
from keras_regvq.__main__ import main as command
from keras_regvq.pictures import image_grid

pictures = Path(os.environ.get("GUIDE_PICTURES", "guides/pictures"))
folder = Path(tempfile.mkdtemp())


def save(rows, number, name, scale=2):
    """Keep a picture of this page: one list of images a row."""
    path = pictures / f"published_tokenizers_{number}_{name}.png"
    image_grid([np.asarray(row) for row in rows], scale).save(path)


# %% [markdown]
# ## 1. A checkpoint
#
# You have one: `vqgan_imagenet_f16_1024.ckpt`, say, a diffusers folder with `config.json` and
# `diffusion_pytorch_model.safetensors`, or `vq_ds16_c2i.pt`. So that this page needs no download,
# it makes its own, as taming-transformers would have written it, of the package's tokenizer of
# scenes. (Without noise Reg-VQ's quantizer does what Gumbel-VQ's does, and is one there.)

# %%
ours = keras_regvq.from_preset("regvq_scenes_64_v1")
checkpoint = presets.export(ours, folder / "theirs", format="taming")
print(checkpoint.name, f"{checkpoint.stat().st_size / 1e6:.1f} MB")

# %% [markdown]
# ## 2. Load it
#
# `from_preset` sees what a file or folder is. What a checkpoint cannot say, its image size, you
# may: it only places the attention, and weights do not depend on it. Nothing in a pickle is
# imported or run. Names may be wrapped (`module.`, `_orig_mod.`), and what only training needs,
# such as loss networks, optimizers and an averaged codebook's counts, is left aside; tensors that
# are missing, left over, of another shape or not finite are an error that names them. A folder of
# diffusers may have its weights as `.safetensors` or `.bin`, in float16 or in several files, and be
# a whole pipeline. A model of the hub is `hf://user/name`, a part of a pipeline
# `hf://user/name/vqvae`, a file of weights `hf://user/name/vqgan.ckpt`.

# %%
tokenizer = keras_regvq.from_preset(checkpoint, image_size=64)
images = keras_regvq.data.scenes(6, size=64, split="test")["images"]
tokens = tokenizer.encode(images)
print("tokens", tokens.shape, tokens.dtype, f"of {tokenizer.codebook_size} codes")
print("first row", tokens[0, 0])
save([images, tokenizer.decode(tokens)], 1, "reconstructions")

# %% [markdown]
# ## 3. Convert it once
#
# On the command line it is `python -m keras_regvq convert theirs/model.safetensors my_vqgan`. It
# says what was in the file, and what was left aside, such as the networks of the training loss. The
# result is a preset that needs neither PyTorch nor the file.

# %%
with contextlib.chdir(folder):
    command(["convert", "theirs/model.safetensors", "my_vqgan", "--image-size", "64"])
tokenizer = keras_regvq.from_preset(folder / "my_vqgan")

# %% [markdown]
# It is an `ImageTokenizer` like any other: `TokenizerTrainer(tokenizer)` trains it further on your
# images, and `AutoregressivePrior` and `DiffusionPrior` learn its tokens.
#
# ## 4. And back
#
# `presets.export` writes a tokenizer for another project: with `format="diffusers"` a folder
# for `VQModel.from_pretrained`, with "open_muse" a folder, too, with "taming", "llamagen" and
# "seed_voken" a state dict. What a project cannot hold is refused: diffusers has only quantizers
# that look for the nearest code.

# %%
try:
    presets.export(tokenizer, folder / "for_diffusers", format="diffusers")
except ValueError as error:
    print(error)

# %% [markdown]
# ## 5. Without Keras
#
# `export` on the tokenizer writes two graphs, images to tokens and tokens to images, as ONNX files
# (extra `onnx`). onnxruntime needs neither Keras nor a backend:
#
#     tokenizer.export("served", batch_size=8)
#     session = onnxruntime.InferenceSession("served/encode.onnx")
#     tokens = session.run(None, {session.get_inputs()[0].name: images})[0]
#
# ## 6. Whole painters
#
# A Net2Net checkpoint of taming-transformers has a transformer, too.
# `presets.load_net2net("last.ckpt", num_heads=16)` gives the tokenizer and an `AutoregressivePrior`
# conditioned on label maps, on a class or on nothing; `models.SemanticToImage(tokenizer, prior)`
# paints with the first kind.
