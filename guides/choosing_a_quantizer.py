# %% [markdown]
# # Choosing a quantizer and its settings
#
# Which quantizer to take for a tokenizer of your own, and what its settings do. The evidence is two
# studies: each variant trained by one recipe on procedural scenes and on emoji, then measured on
# images it has not seen. This page reads their numbers and trains nothing. The pages of the
# [quantizers](../results/quantizer_study/README.md) and of
# [Reg-VQ's settings](../results/ablation/README.md) say how they were made, show the pictures, and
# say what cannot be told at that scale: 32 pixels, 256 codes, minutes of training.
#
# In short, for pictures like these, and of 13 quantizers with eight bits a position:
#
# * most of the picture: `SimVQQuantizer(codes, width)`;
# * 0.2 to 0.3 dB less: `VectorQuantizer(codes, width, normalize=True, ema=0.99,
#   codebook_start="kmeans", dead_code_threshold=0.5)`, which saves an autoregressive prior 0.4 bits
#   a position on scenes, and nothing on emoji. With `normalize=True` alone it saves 0.6 bits more,
#   and two fifths of its codes are never used;
# * as much, and nothing to tune: `FiniteScalarQuantizer(levels)`, for as many bits as SimVQ;
# * the paper's method: `RegularizedQuantizer(codes, width, logits="cosine")`, with all codes in
#   use, 0.9 to 1.4 dB below the first two; no samples were measurably better than its own. After
#   four times the training VQ-GAN's own quantizer, `VectorQuantizer(codes, width)`, is above it;
# * the weights of another project: [what it has](published_tokenizers.md).

# %%
import json
import os
import sys
from pathlib import Path

import drawing
import keras
import numpy as np

import keras_regvq
from keras_regvq.pictures import usage_histogram

root = Path(__file__).resolve().parent.parent
sys.path.append(str(root / "recipes"))
from ablation_studies import studies  # noqa: E402

variants = studies(codes=256)
quantizer_study, ablation = (
    [json.loads(path.read_text()) for path in (root / "results" / name / "cells").glob("*.json")]
    for name in ("quantizer_study", "ablation")
)
COLUMNS = {
    "PSNR (dB)": ("psnr", "{:9.2f}"),
    "usage": ("codebook_usage", "{:5.0%}"),
    "perplexity": ("codebook_perplexity", "{:10.1f}"),
    "reconstructions": ("reconstruction_frechet_distance", "{:15.1f}"),
    "samples": ("generation_frechet_distance", "{:7.1f}"),
}
OF_THE_STUDY = {
    **COLUMNS,
    "samples": ("autoregressive_generation_frechet_distance", "{:7.1f}"),
    "bits": ("autoregressive_bits_per_token", "{:4.1f}"),
}


def measured(settings, data, name, cells=ablation):
    """One number of a variant on one data set, an entry a seed."""
    found = [c for c in cells if c["settings"] == settings and c["data"].startswith(data)]
    return [c["numbers"][name] for c in sorted(found, key=lambda cell: cell["seed"])]


def compare(study, data, seeds, cells=ablation, columns=COLUMNS):
    """Print the means over the first seeds of a study's variants."""
    names = [
        name for name in variants[study] if measured(variants[study][name], data, "psnr", cells)
    ]
    width = max(map(len, names))
    print(f"{data:{width}}", *columns)
    for variant in names:  # some were added to a study after its cells were made
        found = [measured(variants[study][variant], data, n, cells) for n, _ in columns.values()]
        means = [np.mean(values[:seeds]) for values in found]
        texts = [form.format(mean) for mean, (_, form) in zip(means, columns.values(), strict=True)]
        print(f"{variant:{width}}", *texts)


# %% [markdown]
# ## 1. Which quantizer
#
# Thirteen quantizers with eight bits a position, under one recipe; means of three seeds. PSNR is of
# reconstructions; usage is the share of codes that occur in their tokens at all; perplexity says
# how many codes, used equally often, would carry as much. Then come Frechet distances to the test
# images, of the reconstructions and of the samples of an autoregressive prior over the tokens: less
# is better. The last column is what that prior needs to write down a held-out position: tokens that
# are easy to predict cost less than their eight bits. Of residual codes usage and perplexity are of
# the 16 codes of a stage, bits are of both stages together.

# %%
compare("quantizers", "scenes", 3, quantizer_study, OF_THE_STUDY)

# %%
compare("quantizers", "emoji", 3, quantizer_study, OF_THE_STUDY)

# %%
points = {
    data: {
        variant: [
            measured(settings, data, name, quantizer_study)
            for name in ("autoregressive_bits_per_token", "psnr")
        ]
        for variant, settings in variants["quantizers"].items()
    }
    for data in ("scenes", "emoji")
}
drawing.save(drawing.rate_and_fidelity(points), __file__, 1, "rate")

# %% [markdown]
# Each mark is a run; higher keeps more, further left costs a prior less.
#
# * **All codes in use** is no distinction any more: seven of the thirteen have it. It does not make
#   pictures good by itself: LFQ's and BSQ's codes are used most evenly, and they are 1.4 to 3 dB
#   below cosine codes.
# * **Cosine codes** are the largest step: normalizing features and codes gives VQ-GAN's quantizer
#   0.9 and 1.7 dB. Moving averages with replaced codes give 0.2 and 0.1 dB more, for 0.6 bits.
#   The rotation trick changes nothing that could be told; a projection to eight dimensions leaves
#   two thirds of the codes unused at the same fidelity.
# * **SimVQ** has the highest mean on both sets.
# * **FSQ** and **residual codes** are level with cosine codes in fidelity, and cost an
#   autoregressive prior 1.1 to 1.5 bits more a position.
# * **Reg-VQ** is 0.2 and 0.6 dB above VQ-GAN's quantizer, for 1.4 bits more, and 0.7 and 1.1 dB
#   below cosine codes, which need about as many bits.
# * **IBQ** keeps only a blur in so short a training
#   ([what was tried](../results/quantizer_study/README.md#ibq)).
# * **Samples**: by kernel distance none are nearer to real pictures than Reg-VQ's by more than the
#   spread over seeds, under either prior; those of VQ-GAN's, Gumbel-VQ's and IBQ's codes cannot be
#   told from them. LFQ's and BSQ's are further in every seed under the autoregressive prior, and
#   [others](../results/quantizer_study/ablation.md) on one set or under one prior.
#
# What each part of Reg-VQ does, on the same network, three seeds:

# %%
compare("ladder", "scenes", 3, quantizer_study, OF_THE_STUDY)

# %%
compare("ladder", "emoji", 3, quantizer_study, OF_THE_STUDY)

# %% [markdown]
# Here the logits are cosines, which the paper's are not. With them the prior brings all codes to
# life, and PSNR is 0.6 and 1.1 dB above VQ-GAN's plain codes; cosine codes without a prior are
# above both. The mask then costs 0.4 dB, and saves an autoregressive prior 0.3 to 0.5 bits a
# position: the codes are used less finely. On emoji it brings that prior's samples nearer to real
# pictures in every seed, to where VQ-GAN's are. The contrastive losses change PSNR by at most 0.1
# dB. The paper's gain from them was measured on samples after 250,000 steps, of 256 pixels: it is
# not refuted.
#
# ### Longer training
#
# The thirteen again, after four times the tokenizer's steps. One seed:

# %%
compare("quantizers_longer", "scenes", 1, quantizer_study, OF_THE_STUDY)

# %% [markdown]
# All but IBQ gain 1.4 to 2.2 dB, VQ-GAN's quantizer most: it passes Reg-VQ by 0.4 dB, for 0.6 bits
# less. The order of the best four, SimVQ first, is as before within what seeds differ by. Their
# tokens cost a prior 0.4 to 1 bits more than after the short training.
#
# ### ... and in the older study
#
# From here to the end the numbers are of the older study: the package's first network, linear
# logits and Adam. All are lower there, by 1.3 to 4.1 dB, VQ-GAN's most: Reg-VQ leads it by 2 dB
# there, and by 0.2 and 0.6 on the network above.
#
# Dead codes are partly a matter of time, and so are good samples. With four times the tokenizer's
# steps VQ-GAN comes closer, and is still behind; with four times the generative prior's, Reg-VQ's
# tokens, of which more have to be told apart, gain more on emoji. One seed:

# %%
compare("length", "scenes", seeds=1)

# %%
compare("length", "emoji", seeds=1)

# %% [markdown]
# ## 2. The prior: scope, estimator, weight
#
# One seed of each. `prior_estimator="soft"` regularizes the mean of the predicted distributions,
# "hard" the frequencies of the chosen codes, with straight-through gradients. `prior_scope` says
# over what the mean goes.

# %%
compare("prior", "scenes", seeds=1)

# %%
compare("prior", "emoji", seeds=1)

# %% [markdown]
# All of them use the whole codebook; what they cost differs. The soft estimator costs least, and
# a weight of 0.1 costs more PSNR than 0.01. If codes still die in a run of yours, raise
# `prior_weight`; if perplexity comes near the codebook's size and PSNR is low, lower it.
# `prior_scope="image"` asks each picture to use all codes evenly, which it cannot with fewer
# positions than codes (64 and 256 here): with the hard estimator that costs up to 2 dB more than
# "batch".
#
# ## 3. The mask and the contrastive loss
#
# `mask_ratio` is the share of positions where a code is sampled. One seed of each but 0.4, which
# has three; its standard deviation is 0.2 dB on scenes and 0.7 on emoji.

# %%
compare("mask", "scenes", seeds=1)

# %%
compare("mask", "emoji", seeds=1)

# %% [markdown]
# Up to 0.4 the mask costs nothing on scenes that could be told from the seeds' spread; sampling
# everywhere costs 0.8 and 1.0 dB. Codes are used most evenly in the middle. The paper's best ratio
# is 0.4; the distances here differ by less than seeds do and cannot say, so it is the default.
#
# The contrastive loss pulls the features of the picture towards those of the original, and pushes
# them away from others; the probabilistic one pulls less where many positions were sampled.
# Its weight belongs to the network that gives the features (EfficientNet-Lite0 here), so the
# factors count from that one's, 0.01.

# %%
compare("contrastive", "scenes", seeds=1)

# %%
compare("contrastive", "emoji", seeds=1)

# %% [markdown]
# At small weights the two losses cannot be told apart. A weight that is ten times too large ruins
# the plain one (on scenes 17.7, 14.9 and 17.5 dB in three seeds) and costs the probabilistic one
# little (20.7, 20.5 and 20.8 dB), in part because it counts the sampled positions only, 40 % of
# them. So with a feature network of your own, where the right weight is not known, the
# probabilistic one (`TokenizerTrainer`'s default) is the safer one.
#
# ## 4. How many codes

# %%
sizes = [256, 512, 1024, 2048, 4096]
used, fidelity = {}, {}
for data in ("scenes", "emoji"):
    for name in ("Reg-VQ", "VQ-GAN"):
        runs = [variants["codebook"][f"{name}, {size}"] for size in sizes]
        usages = [measured(settings, data, "codebook_usage")[0] for settings in runs]
        used[f"{name}, {data}"] = [size * usage for size, usage in zip(sizes, usages, strict=True)]
        fidelity[f"{name}, {data}"] = [measured(settings, data, "psnr")[0] for settings in runs]
drawing.save(drawing.codebook_sizes(sizes, used, fidelity), __file__, 2, "sizes")

# %%
compare("codebook", "scenes", seeds=1)

# %%
compare("codebook", "emoji", seeds=1)

# %% [markdown]
# One seed, 800 steps. VQ-GAN's quantizer uses 70 to 100 codes whatever it is given, and the
# more it has, the less of the picture it keeps. Reg-VQ's number of codes in use grows, but neither
# do 800 steps bring all of 4,096 to life, nor do they make the pictures better: for a short
# training on small pictures take 256 to 1,024.
#
# `block_size` bounds the memory of every quantizer: logits or distances exist for about that many
# codes a position at a time, so 65,536 codes need hardly more memory than 1,024, but their own.
#
# ## 5. What else was tried
#
# One seed. "At last" is the last third of the training.

# %%
compare("search", "scenes", seeds=1)

# %%
compare("search", "emoji", seeds=1)

# %% [markdown]
# Most of these say nothing. Three warn, on both sets: a tenth of the prior's weight lets half of
# the codes die, no prior at the end lets it begin, and codes that start ten times smaller than the
# default's reach less in the same time.
#
# ## 6. What to watch
#
# `TokenizerTrainer` logs `codebook_usage`, `codebook_perplexity` and `psnr` over each epoch, from
# the tokens of inference, which have no noise that would make a codebook look livelier than it is.
# After the training, look at how often each code occurs in images of yours:

# %%
tokenizer = keras_regvq.from_preset("regvq_scenes_64")
images = keras_regvq.data.scenes(128, size=64, split="test")["images"]
tokens = keras.ops.convert_to_numpy(tokenizer.encode(images))
counts = np.bincount(tokens.ravel(), minlength=tokenizer.codebook_size)
shares = counts[counts > 0] / counts.sum()
print(f"usage {np.mean(counts > 0):.1%}, perplexity {np.exp(-np.sum(shares * np.log(shares))):.0f}")

pictures = Path(os.environ.get("GUIDE_PICTURES", root / "guides" / "pictures"))
usage_histogram(counts).save(pictures / "choosing_a_quantizer_3_usage.png")

# %% [markdown]
# A codebook of which a part stays at zero could have been smaller: the generative model over
# its tokens carries the dead ones along.
