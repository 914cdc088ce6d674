# %% [markdown]
# # From words to pictures
#
# Text-to-image synthesis: a caption goes in, a picture comes out. This guide goes from a folder of
# images with captions to a model that paints, and shows what its sampling options do. It is
# Reg-VQ's second use of its tokens (Zhang et al., CVPR 2023): diffusion, which makes all tokens of
# a picture at once, in a few steps, where an autoregressive prior needs one step a token.
#
# This page is a script, `guides/from_words_to_pictures.py`, and what it shows came out of one run
# of it. Another backend (`KERAS_BACKEND=tensorflow`, `jax` or `torch`) rounds differently, so a
# sample can differ in a token.

# %%
import json
import os
import tempfile
from pathlib import Path

import keras
import numpy as np
from keras import ops
from PIL import Image

import keras_regvq
from keras_regvq import models
from keras_regvq.pictures import image_grid

keras.utils.set_random_seed(0)
pictures = Path(os.environ.get("GUIDE_PICTURES", "guides/pictures"))


def save(rows, number, name, scale=2):
    """Keep a picture of this page: one list of images a row."""
    path = pictures / f"from_words_to_pictures_{number}_{name}.png"
    image_grid([np.asarray(row) for row in rows], scale).save(path)


# %% [markdown]
# ## 1. The folder
#
# A folder has `images/` and `captions.jsonl`, of which a line names an image and its caption, or
# several captions, of which each pass over the data draws one. Hugging Face's `metadata.jsonl` or
# a text file beside each image will do, too. Here the folder is made from procedural scenes. Every
# tenth image or so is kept for testing, if there are no folders such as `train/` and `val/`.
# CUB-200's birds, MS-COCO and npm's emoji are read as they come, with `cub:DIR`,
# `tfds:coco_captions` and `emoji:DIR`.

# %%
folder = Path(tempfile.mkdtemp())
(folder / "images").mkdir()
with open(folder / "captions.jsonl", "w") as file:
    for seed in range(48):
        scene, name = keras_regvq.data.scene(seed), f"scene_{seed:02d}"
        Image.fromarray(scene.image).save(folder / "images" / f"{name}.png")
        print(json.dumps({"file": name, "caption": scene.caption}), file=file)

dataset = keras_regvq.data.load(
    f"folder:{folder}", image_size=64, batch_size=8, fields=("images", "captions"), shuffle=False
)
batch = next(iter(dataset.as_numpy_iterator()))
save([batch["images"]], 1, "folder")
print(*(caption.decode() for caption in batch["captions"]), sep="\n")

# %% [markdown]
# ## 2. Words as numbers
#
# `VocabularyEncoder` numbers the words of the data's own captions. A small transformer inside the
# prior (`WordCondition`) learns what they mean from the pictures alone, each word together with its
# neighbours: "a red boat and a blue car" is more than the set of its words. That is enough where
# captions are many and their words few. For free language, `PretrainedTextEncoder` gives the
# features of a frozen BERT, CLIP or T5 that KerasHub loads; the rest stays the same.

# %%
captions = [caption for part in dataset.as_numpy_iterator() for caption in part["captions"]]
encoder = models.VocabularyEncoder.from_captions(captions)
print(f"{encoder.vocabulary_size} numbers, captions of at most {encoder.max_length} words")
print(encoder.encode(["a red boat at night"])[0])

# %% [markdown]
# ## 3. Noise for tokens
#
# The tokenizer turns an image into 16 x 16 tokens. Diffusion learns to undo noise, and noise on
# tokens cannot be Gaussian: a token number has no neighbours. `process="discrete"` hides a growing
# share of the tokens behind a mask, and replaces a few by random ones (Gu et al., 2022). Time 0 is
# the picture; at time 1 nothing is left of it. Below, masked tokens are grey.
#
# (`process="gaussian"` adds Gaussian noise to the tokens' code vectors instead, and snaps what it
# sampled to the nearest codes.)

# %%
tokenizer = keras_regvq.from_preset("regvq_scenes_64")
prior = models.DiffusionPrior(
    tokenizer.codebook_size,
    tokenizer.token_grid,
    channels=16,
    num_res_blocks=1,
    condition=encoder.condition(num_layers=1),
    condition_dropout=0.1,
    seed=0,
)
tokens = np.repeat(tokenizer.encode(batch["images"][:1]), 6, axis=0)
times = np.linspace(0.001, 1, 6, dtype="float32")
corrupted = prior.process.corrupt(
    ops.convert_to_tensor(tokens.reshape(6, -1)),
    ops.convert_to_tensor(times),
    keras.random.SeedGenerator(1),
)
noised = ops.convert_to_numpy(corrupted["noised"]).reshape(tokens.shape)
masked = noised == tokenizer.codebook_size
decoded = tokenizer.decode(np.where(masked, 0, noised))
decoded[masked.repeat(4, axis=1).repeat(4, axis=2)] = 0.5
save([decoded], 2, "noised")
print("time   " + " ".join(f"{time:5.2f}" for time in times))
print("masked " + " ".join(f"{share:5.2f}" for share in masked.mean(axis=(1, 2))))

# %% [markdown]
# ## 4. Learning
#
# A U-Net gets the noised tokens, the time and the words, and predicts the clean tokens of the whole
# grid at once. Logged are their cross-entropy and `bits_per_token`, the variational bound on how
# many bits a token of the picture costs: a prior that knows nothing needs log2(512) = 9.

# %%
painter = models.TextToImage(tokenizer, prior, encoder)
painter.compile(keras.optimizers.AdamW(4e-3))
cached = painter.tokenize(dataset, folder / "tokens", verbose=False)
history = painter.fit(cached, batch_size=8, epochs=30, verbose=0).history
print("cross-entropy: " + " ".join(f"{value:.2f}" for value in history["cross_entropy"][::3]))

# %% [markdown]
# A few seconds on 48 pictures paint nothing yet. `text_scenes_64` is the same, larger, with
# attention over the whole grid. Its network learned from scenes for seven and a half hours on two
# cores, on the tokens of an older tokenizer, and then for four and a half on one core on these (the
# commands are in `results/README.md`).
#
# ## 5. Painting
#
# Below, a column has a caption, and a row a seed: what the words leave open differs.

# %%
painter = keras_regvq.from_preset("text_scenes_64")
prompts = [
    "a yellow boat on open water at night",
    "a green tree and a yellow house in a meadow of grass during the day",
    "a blue car on a snowy field at dusk",
    "a white lighthouse on rippling water at sunset with hills behind",
]
samples = [painter.generate(prompts, guidance_scale=4.0, seed=seed) for seed in (0, 1, 2)]
save(samples, 3, "painted")

# %% [markdown]
# How much do more steps help? Below, 4, 25 and 100 steps; in the last row the other sampler,
# `sampler="confidence"` (MaskGIT's), in 8 steps: it fixes the tokens that it is surest of first,
# and never changes one again.

# %%
steps = (4, 25, 100)
options = {"guidance_scale": 4.0, "seed": 0}
rows = [painter.generate(prompts, num_steps=count, **options) for count in steps]
rows.append(painter.generate(prompts, num_steps=8, sampler="confidence", **options))
save(rows, 4, "steps")

# %% [markdown]
# ## 6. Sampling options
#
# * `guidance_scale` above 1 exaggerates what the words change (classifier-free guidance), at the
#   price of a doubled batch: rows 1 to 3 have 1, 2 and 6.
# * `temperature` below 1, `top_k` and `top_p` sharpen what is drawn in each step, as in any
#   language model: row 4 has a temperature of 0.7.
# * `negative_prompts` name what to be guided away from, in the place of no caption at all: row 5 is
#   guided away from the night.

# %%
rows = [painter.generate(prompts, guidance_scale=scale, seed=3) for scale in (1.0, 2.0, 6.0)]
rows.append(painter.generate(prompts, guidance_scale=4.0, temperature=0.7, seed=3))
rows.append(painter.generate(prompts, "at night", guidance_scale=4.0, seed=3))
save(rows, 5, "options")

# %% [markdown]
# ## 7. Repainting
#
# With `images` and `mask`, only the tokens that the mask touches are drawn anew; all others are
# kept exactly, and what is drawn fits them. Here the upper part of each picture is painted again,
# with a balloon in it.

# %%
mask = np.zeros((4, 64, 64), bool)
mask[:, :32] = True
before = samples[0]
wishes = [f"a purple balloon above {prompt}" for prompt in prompts]
after = painter.generate(wishes, images=before, mask=mask, guidance_scale=4.0, seed=4)
save([before, after], 6, "repainted")

# %% [markdown]
# ## 8. Keeping it
#
# A preset holds tokenizer, prior and vocabulary, and loads under every backend:
# `painter.save_to_preset("my_painter")`, then `keras_regvq.from_preset("my_painter")`.
# `recipes/generate.py --preset my_painter --prompt "a red boat at night"` paints from the command
# line.
