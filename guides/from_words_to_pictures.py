# %% [markdown]
# # From words to pictures
#
# Text-to-image synthesis: you write "a red boat at night", and a model paints it. This is Reg-VQ's
# second use of its tokens (Zhang et al., CVPR 2023): a diffusion model fills the token grid, all
# tokens at once, in a few steps. The guide shows what noise does to tokens, trains a prior for a
# moment, and then what the trained one's options do.
#
# This page is a script, `guides/from_words_to_pictures.py`, and what it shows came out of one run
# of it. Another backend (`KERAS_BACKEND=tensorflow`, `jax` or `torch`) rounds differently, so a
# sample can differ in a token.

# %%
import os
from pathlib import Path

import keras
import numpy as np

import keras_regvq
from keras_regvq import models
from keras_regvq.models.mask_and_replace import MaskAndReplace
from keras_regvq.training.pictures import image_grid

keras.utils.set_random_seed(0)
pictures = Path(os.environ.get("GUIDE_PICTURES", "guides/pictures"))


def save(rows, number, name, scale=2):
    """Keep a picture of this page: one list of images a row."""
    path = pictures / f"from_words_to_pictures_{number}_{name}.png"
    image_grid([np.asarray(row) for row in rows], scale).save(path)


# %% [markdown]
# ## 1. Images with captions
#
# Procedural scenes come with captions that name what is visible. Your own pictures go into a
# folder, with a file `captions.jsonl` of lines like `{"file": "a.jpg", "caption": "a red boat"}`
# (`folder:DIR`); MS-COCO (`tfds:coco_captions`), CUB-200 (`cub:DIR`) and emoji (`emoji:DIR`) are
# read as they come.

# %%
scenes = keras_regvq.data.scenes(32, size=64)
for caption in scenes["captions"][:4]:
    print(caption)

# %% [markdown]
# ## 2. What noise does to tokens
#
# The tokenizer turns a picture into 16 x 16 tokens. Discrete diffusion (Gu et al., 2022) destroys
# them step by step: at step t of T a share t / T of the tokens is gone, nine in ten of these
# masked and the others replaced by random codes. A network learns to say, from what is left and
# from the caption, which token was at every place. Below: nothing gone, a quarter, a half, three
# quarters. A mask cannot be decoded, so the pictures show code 0 in its place.

# %%
tokenizer = keras_regvq.from_preset("regvq_scenes_64")
tokens = tokenizer.encode(scenes["images"][:8])
chain = MaskAndReplace(tokenizer.codebook_size, num_timesteps=100, replace_share=0.1)
rng = np.random.default_rng(0)
uniform = rng.random((8, 256), dtype="float32")
others = rng.integers(tokenizer.codebook_size, size=(8, 256)).astype("int32")
rows = []
for step in (0, 25, 50, 75):
    steps = np.full((8, 1), step, "float32")
    noised = np.asarray(
        keras.ops.convert_to_numpy(chain.noise(tokens.reshape(8, 256), steps, uniform, others))
    )
    print(f"step {step}: {np.mean(noised == tokenizer.codebook_size):.0%} masked")
    shown = np.where(noised == tokenizer.codebook_size, 0, noised)
    rows.append(tokenizer.decode(shown.reshape(tokens.shape)))
save(rows, 1, "noise")

# %% [markdown]
# ## 3. A prior that is told the words
#
# A text encoder turns a caption into vectors that the network, a U-Net over the token grid, looks
# at by cross-attention. `VocabularyEncoder` numbers the words of the data's own captions, and a
# small transformer that reads them is trained along: nothing to download. For words beyond these
# captions, `PretrainedTextEncoder` takes a language model from KerasHub (BERT, CLIP, T5), frozen.
# `condition_dropout` hides some captions, which guidance needs later on.

# %%
encoder = models.VocabularyEncoder.from_captions(scenes["captions"])
print(f"{len(encoder.words)} words, captions of up to {encoder.max_length - 1}")
prior = models.DiffusionPrior(
    tokenizer.codebook_size,
    grid=tokenizer.token_grid,
    channels=16,
    num_res_blocks=1,
    num_heads=2,
    condition=encoder.condition(num_layers=1),
    condition_dropout=0.1,
)
painter = models.TextToImage(tokenizer, prior, encoder)
painter.compile(keras.optimizers.AdamW(5e-3))

# %% [markdown]
# `fit` takes images and captions, or tokens that were made before. The loss is the cross-entropy
# of the clean tokens plus a tenth of the variational bound, which is also logged in **bits per
# token**: an upper limit of what the prior would need to write the picture down.

# %%
data = {"tokens": tokenizer.encode(scenes["images"]), "captions": scenes["captions"]}
history = painter.fit(data, batch_size=8, epochs=6, verbose=0).history
print("cross-entropy: " + " ".join(f"{loss:.2f}" for loss in history["cross_entropy"]))

# %% [markdown]
# A few seconds paint nothing yet. `text_scenes_64` is the same with a larger U-Net, after
# about an hour on two cores: `recipes/train_text_to_image.py --config
# recipes/configs/scenes_text.toml`.
#
# ## 4. Painting
#
# Two samples of each caption. The last two captions name pairs of colour and kind that no training
# picture shows, red boats and blue tents: the prior has to put together what it learned apart.

# %%
painter = keras_regvq.from_preset("text_scenes_64")
prompts = [
    "a yellow house on the grass during the day",
    "a green tree in the snow at night under the moon",
    "a white lighthouse on the sand at sunset",
    "open water at dusk with mountains behind",
    "a purple balloon floating over the grass by day",
    "a blue car on the sand in the daytime under some clouds",
    "a red boat on the water at sunset",
    "a blue tent on the grass during the day",
]
options = {"guidance_scale": 2.0, "num_steps": 12}
samples = [painter.generate(prompts, seed=seed, **options) for seed in (0, 1)]
save(samples, 2, "painted")

# %% [markdown]
# ## 5. Sampling options
#
# * `guidance_scale` above 1 exaggerates what the caption changes (classifier-free guidance), at the
#   price of a doubled batch: 1 is free, 2 listens, much more is stiff.
# * `num_steps`: more steps, fewer tokens that do not fit each other. `method="confidence"` draws
#   all tokens in each step and keeps the surest (MaskGIT), which needs few steps; the default,
#   "ancestral", follows the reverse chain and may still change its mind.
# * `negative_prompts` take the place of no caption in the guidance: the picture moves away from
#   them.
#
# Rows: no guidance; guidance 2, as above; the surest tokens first; away from "at night".

# %%
free = painter.generate(prompts, seed=0, num_steps=12)
surest = painter.generate(prompts, seed=0, method="confidence", **options)
away = painter.generate(prompts, "at night", seed=0, **options)
save([free, samples[0], surest, away], 3, "options")

# %% [markdown]
# ## 6. Repainting a part
#
# With `images` and `mask`, only the tokens that the mask touches are drawn anew; all others are
# kept exactly. Here the lower half is painted again, with another caption.

# %%
mask = np.zeros((8, 64, 64), bool)
mask[:, 32:] = True
repainted = painter.generate(
    ["a field of grass"] * 8, images=samples[0], mask=mask, seed=3, **options
)
save([samples[0], repainted], 4, "repainted")

# %% [markdown]
# ## 7. Keeping it
#
# A preset holds tokenizer, prior and text encoder, and loads under every backend:
# `painter.save_to_preset("my_painter")`, then `keras_regvq.from_preset("my_painter")`.
# `recipes/generate.py --preset my_painter --prompt "a red boat"` paints from the command line.
