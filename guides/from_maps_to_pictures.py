# %% [markdown]
# # From a folder of images and maps to pictures
#
# Semantic image synthesis: you draw where the sky, the water and a lighthouse are, and a model
# paints the picture. This guide goes from a folder of images with label maps to a model that
# paints, and shows what its sampling options do. It is Reg-VQ's first use of its tokens (Zhang et
# al., CVPR 2023), by an autoregressive transformer as in VQ-GAN (Esser et al., 2021).
#
# This page is a script, `guides/from_maps_to_pictures.py`, and what it shows came out of one run of
# it. Another backend (`KERAS_BACKEND=tensorflow`, `jax` or `torch`) rounds differently, so a
# sample can differ in a token.

# %%
import os
import tempfile
from pathlib import Path

import keras
import numpy as np
from PIL import Image

import keras_regvq
from keras_regvq import models
from keras_regvq.data import SCENE_CLASSES, SCENE_PALETTE
from keras_regvq.pictures import image_grid

keras.utils.set_random_seed(0)
pictures = Path(os.environ.get("GUIDE_PICTURES", "guides/pictures"))


def save(rows, number, name, scale=2):
    """Keep a picture of this page: one list of images a row."""
    path = pictures / f"from_maps_to_pictures_{number}_{name}.png"
    image_grid([np.asarray(row) for row in rows], scale).save(path)


# %% [markdown]
# ## 1. The folder
#
# A folder has `images/` and `labels/`. A label map is a PNG of the same name and size, whose pixels
# are label numbers, or colours that a file given as `label_palette=` lists, one for each label.
# Here the folder is made from procedural scenes, of which the package knows the labels; ADE20K and
# CelebAMask-HQ are read as they come, with `ade20k:DIR` and `celebamask_hq:DIR`. For training,
# `flip=True` mirrors half of the images and their maps.

# %%
folder = Path(tempfile.mkdtemp())
(folder / "images").mkdir()
(folder / "labels").mkdir()
for seed in range(48):
    scene = keras_regvq.data.scene(seed)
    Image.fromarray(scene.image).save(folder / "images" / f"scene_{seed:02d}.png")
    Image.fromarray(scene.labels.astype("uint8")).save(folder / "labels" / f"scene_{seed:02d}.png")

dataset = keras_regvq.data.load(
    f"folder:{folder}",
    image_size=64,
    batch_size=8,
    fields=("images", "labels"),
    shuffle=False,
)
batch = next(iter(dataset.as_numpy_iterator()))
print({name: f"{values.dtype} {values.shape}" for name, values in batch.items()})
print(", ".join(f"{label} {name}" for label, name in enumerate(SCENE_CLASSES)))
save([batch["images"], SCENE_PALETTE[batch["labels"]]], 1, "folder")

# %% [markdown]
# ## 2. Images as tokens
#
# A tokenizer comes first: here the one that the package brings for scenes of 64 pixels. For images
# of your own, `recipes/train_tokenizer.py` trains one. It turns an image into a grid of 16 x 16
# tokens, and the prior will learn to write such grids. What is lost here no prior can bring back,
# so look at the reconstructions first.

# %%
tokenizer = keras_regvq.from_preset("regvq_scenes_64")
tokens = tokenizer.encode(batch["images"])
print(f"tokens {tokens.dtype} {tokens.shape} of {tokenizer.codebook_size} codes")
save([batch["images"], tokenizer.decode(tokens)], 2, "reconstructions")

# %% [markdown]
# ## 3. A prior that is told the map
#
# An autoregressive prior writes the tokens one after the other, in raster order: it predicts a
# distribution over the codes for each, from the tokens before it and from the map. Its training
# loss is the negative log likelihood of the true tokens, which we report in **bits per token**: a
# prior that knows nothing needs log2(512) = 9 bits for one of 512 codes.
#
# `LabelMapCondition` embeds the map patch by patch: coarse patches go before the image tokens as a
# prefix that every token can look at, and each token also gets the patch of the map that it is to
# paint. (`TokenizedMapCondition` gives the map's own VQ tokens instead, as VQ-GAN does.)
# `condition_dropout` hides the map of some examples, which guidance needs later on.

# %%
condition = models.LabelMapCondition(num_classes=16, image_size=64, prefix_grid=4)
prior = models.AutoregressivePrior(
    tokenizer.codebook_size,
    grid=tokenizer.token_grid,
    num_layers=1,
    num_heads=4,
    hidden_dim=64,
    condition=condition,
    condition_dropout=0.1,
)
painter = models.SemanticToImage(tokenizer, prior)
painter.compile(keras.optimizers.AdamW(3e-3))

# %% [markdown]
# `fit` takes images and label maps and makes the tokens on the fly. They do not change, though, so
# `tokenize` makes them once, on disk if you name a directory; it goes on where it was interrupted,
# and refuses a directory that another tokenizer wrote.

# %%
cached = painter.tokenize(dataset, folder / "tokens", verbose=False)
history = painter.fit(cached, batch_size=8, epochs=6, verbose=0).history
print("bits per token: " + " ".join(f"{bits:.2f}" for bits in history["bits_per_token"]))

# %% [markdown]
# A few seconds of a tiny prior on 48 pictures paint nothing yet. `semantic_scenes_64` is the same
# with four layers of width 192, after half an hour on one core with 20,000 scenes:
# `recipes/train_semantic_to_image.py --config recipes/configs/scenes.toml`.
#
# ## 4. Painting
#
# The first row is the maps, of scenes that no training saw; the last, the real pictures. Each row
# between has its seed: a map says what is where, not the time of day or a roof's colour, so
# that samples differ there.

# %%
painter = keras_regvq.from_preset("semantic_scenes_64")
test = keras_regvq.data.scenes(8, size=64, split="test", first_seed=40)
maps = test["labels"]
samples = [painter.generate(maps, seed=seed) for seed in (0, 1, 2)]
save([SCENE_PALETTE[maps], *samples, test["images"]], 3, "painted")

painter.compile()
bits = painter.evaluate({"images": test["images"], "labels": maps}, verbose=0, return_dict=True)
print(f"held-out bits per token: {bits['bits_per_token']:.2f}")

# %% [markdown]
# ## 5. Sampling options
#
# * `temperature` below 1 sharpens each distribution, `top_k` and `top_p` cut its tail off: fewer
#   odd tokens, less variety. `temperature=0` takes the likeliest token throughout.
# * `guidance_scale` above 1 exaggerates what the map changes (classifier-free guidance): each logit
#   moves away from what the prior would say without the map, at the price of a doubled batch.
#   `guidance_schedule` lets it grow along the picture.
#
# Below: the likeliest tokens, clean and always the same; plain samples, free, and often smeared
# where objects are small; between them, the nucleus of 0.9 with a guidance scale of 1.5.

# %%
likeliest = painter.generate(maps, temperature=0)
guided = painter.generate(maps, top_p=0.9, guidance_scale=1.5, seed=0)
save([likeliest, samples[0], guided], 4, "options")

# %% [markdown]
# ## 6. Drawing a map, and repainting
#
# A map is an array of label numbers, so NumPy draws one. With `images` and `mask`, only the tokens
# that the mask touches are drawn anew; all others are kept exactly. Here a balloon is added to the
# map, and the region around it painted again.

# %%
drawn = np.full((64, 64), SCENE_CLASSES.index("sky"))
drawn[34:] = SCENE_CLASSES.index("water")
rows, columns = np.mgrid[:64, :64]
drawn[(rows > 26) & (rows <= 33) & (np.abs(columns - 12) < 60 - 1.5 * rows)] = SCENE_CLASSES.index(
    "hill"
)
before = painter.generate(np.stack([drawn] * 4), seed=5)

with_balloon = drawn.copy()
with_balloon[(rows - 14) ** 2 + (columns - 44) ** 2 < 64] = SCENE_CLASSES.index("balloon")
mask = np.zeros((4, 64, 64), bool)
mask[:, 4:24, 32:56] = True
after = painter.generate(np.stack([with_balloon] * 4), images=before, mask=mask, seed=6)
save([SCENE_PALETTE[[drawn] * 4], before, SCENE_PALETTE[[with_balloon] * 4], after], 5, "repainted")

# %% [markdown]
# ## 7. Keeping it
#
# A preset holds tokenizer, prior and condition, and loads under every backend:
# `painter.save_to_preset("my_painter")`, then `keras_regvq.from_preset("my_painter")`.
# `recipes/generate.py --preset my_painter --map my_map.png` paints from a file.
