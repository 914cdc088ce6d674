# %% [markdown]
# # Use a published VQ-GAN in Keras
#
# Trained VQ-GANs are published as PyTorch checkpoints, of taming-transformers, diffusers and
# LlamaGen. Here they are presets: the same tokens and the same images on TensorFlow, JAX and
# PyTorch, `fit`, and ONNX files. This guide loads one, looks at what it does, writes it in other
# projects' formats and takes it out of Keras altogether.
#
# This page is a script, `guides/published_tokenizers.py`, and what it shows came out of one run of
# it.

# %%
import contextlib
import os
import tempfile
from pathlib import Path

import keras
import numpy as np

import keras_regvq
from keras_regvq import models, presets, quantizers, training
from keras_regvq.__main__ import main as command
from keras_regvq.training.pictures import image_grid

keras.utils.set_random_seed(0)
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
# it makes its own: a small VQ-GAN, trained for some seconds and written as taming-transformers
# would have written it.

# %%
scenes = keras_regvq.data.scenes(128, size=32)["images"]
small = models.ImageTokenizer(
    32,
    quantizers.VectorQuantizer(64, 16, codebook_initializer="random_normal"),
    base_channels=32,
    channel_multipliers=(1, 2),
    num_res_blocks=1,
    attention_resolutions=(),
    latent_channels=16,
)
trainer = training.TokenizerTrainer(small)
trainer.compile(keras.optimizers.Adam(2e-3))
trainer.fit(scenes, batch_size=8, epochs=15, verbose=0)
checkpoint = presets.export(small, folder / "their_vqgan", format="taming")
print(checkpoint.name, f"{checkpoint.stat().st_size / 1e6:.1f} MB")

# %% [markdown]
# ## 2. Load it
#
# `from_preset` sees what a file or folder is. What a `.ckpt` cannot say, its image size, you may:
# it only places the attention, and weights do not depend on it. A pickle is read with a whitelist
# of tensor types, and nothing in it ever runs; tensors that are missing, left over or of another
# shape are an error that names them. A model of the hub is `hf://user/name`, a part of a pipeline
# `hf://user/name/vqvae`.

# %%
tokenizer = keras_regvq.from_preset(checkpoint, image_size=32)
images = keras_regvq.data.scenes(8, size=32, split="test")["images"]
tokens = tokenizer.encode(images)
print("tokens", tokens.shape, tokens.dtype, f"of {tokenizer.codebook_size} codes")
print("first row", tokens[0, 0])
save([images, tokenizer.decode(tokens)], 1, "reconstructions", scale=3)

# %% [markdown]
# ## 3. Convert it once
#
# On the command line it is `python -m keras_regvq convert their_vqgan/model.safetensors my_vqgan`.
# It says what was in the file, and what was left aside, such as the networks of the training loss.
# The result is a preset that needs neither PyTorch nor the file.

# %%
with contextlib.chdir(folder):
    command(["convert", "their_vqgan/model.safetensors", "my_vqgan", "--image-size", "32"])
tokenizer = keras_regvq.from_preset(folder / "my_vqgan")

# %% [markdown]
# ## 4. Go on with it
#
# It is an `ImageTokenizer` like any other: train it further on your images, or a prior on its
# tokens (`AutoregressivePrior`, `DiffusionPrior`). Some steps on the same scenes:

# %%
trainer = training.TokenizerTrainer(tokenizer)
trainer.compile(keras.optimizers.Adam(5e-4))
history = trainer.fit(scenes, batch_size=8, epochs=3, verbose=0).history
print("PSNR by epoch: " + " ".join(f"{value:.2f}" for value in history["psnr"]))

# %% [markdown]
# ## 5. And back
#
# `presets.export` writes a tokenizer so that another project reads it: a diffusers folder for
# `VQModel.from_pretrained`, or a state dict for taming-transformers or LlamaGen. What a project
# cannot hold, such as Reg-VQ's quantizer, is refused.

# %%
presets.export(tokenizer, folder / "for_diffusers", format="diffusers")
print(*sorted(path.name for path in (folder / "for_diffusers").iterdir()))
again = keras_regvq.from_preset(folder / "for_diffusers")
print("tokens changed:", int((again.encode(images) != tokenizer.encode(images)).sum()))

# %% [markdown]
# ## 6. Without Keras
#
# `export` on the tokenizer writes two graphs, images to tokens and tokens to images, as ONNX files
# (extra `onnx`). onnxruntime needs neither Keras nor a backend:
#
#     tokenizer.export("served", batch_size=8)
#     session = onnxruntime.InferenceSession("served/encode.onnx")
#     tokens = session.run(None, {session.get_inputs()[0].name: images})[0]
#
# ## 7. Whole painters
#
# A Net2Net checkpoint of taming-transformers has a transformer, too.
# `presets.load_net2net("last.ckpt", num_heads=16)` gives the tokenizer and an `AutoregressivePrior`
# that is told of label maps, of a class, or of nothing; `models.SemanticToImage(tokenizer, prior)`
# paints with the first kind.
