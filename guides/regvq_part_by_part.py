# %% [markdown]
# # Reg-VQ, part by part
#
# An image tokenizer turns a picture into a small grid of integers and back. This guide takes
# Reg-VQ ("Regularized Vector Quantization for Tokenized Image Synthesis", Zhang et al., CVPR
# 2023) apart: each part has its formula, a few lines with the package, and a picture of the point.
#
# This page is a script, `guides/regvq_part_by_part.py`; every number and picture on it came out of
# one run of it. Run it yourself with `python guides/regvq_part_by_part.py` on any backend
# (`KERAS_BACKEND=tensorflow`, `jax` or `torch`); another backend draws other random numbers, so its
# numbers differ a little. How the pictures are drawn is in `guides/drawing.py`.

# %%
import drawing
import keras
import numpy as np
from keras import ops

import keras_regvq
from keras_regvq import losses, quantizers
from keras_regvq.backend.autodiff import losses_and_gradient
from keras_regvq.training.adversarial.surrogate import surrogate

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
print(f"Keras {keras.__version__} on {keras.backend.backend()}")

# %% [markdown]
# ## 1. Tokens and codebooks
#
# A **codebook** is a table of N vectors, the codes. A **token** is a row number of that table.
# A tokenizer has three parts:
#
# * an encoder, which turns an image into a grid of h x w feature vectors;
# * a quantizer, which replaces each feature vector by a code, and so by a token;
# * a decoder, which turns a grid of codes into an image.
#
# The smallest tokenizer needs no training. Its encoder cuts the image into patches of 4 x 4
# pixels, its codebook is 256 patches cut out of other pictures, and its decoder pastes patches
# side by side. The quantizer picks the nearest code,
#
# $$t = \arg\min_n \lVert e - z_n \rVert^2$$


# %%
def to_patches(images, side=4):
    """(B, H, W, 3) -> (B, H / side, W / side, side * side * 3)"""
    batch, height, width, channels = images.shape
    h, w = height // side, width // side
    patches = images.reshape(batch, h, side, w, side, channels).swapaxes(2, 3)
    return patches.reshape(batch, h, w, side * side * channels)


others = keras_regvq.data.scenes(200, size=48)["images"] / np.float32(255)
image = keras_regvq.data.scene(3, size=48, split="test").image / np.float32(255)

features = to_patches(image[None])  # (1, 12, 12, 48): the "encoder"
quantizer = quantizers.VectorQuantizer(codebook_size=256, embedding_dim=48)
quantizer.build(features.shape)
quantizer.codebook.assign(rng.permutation(to_patches(others).reshape(-1, 48))[:256])

tokens = ops.convert_to_numpy(quantizer.best_tokens(features))[0]  # (12, 12) int32
codes = ops.convert_to_numpy(quantizer.embed(tokens[None]))[0]  # (12, 12, 48)
decoded = codes.reshape(12, 12, 4, 4, 3).swapaxes(1, 2).reshape(48, 48, 3)  # the "decoder"

print(f"image: {image.size} bytes; tokens: {tokens.size} of log2(256) = 8 bits")
print("third row of tokens:", *tokens[2])

# %%
book = ops.convert_to_numpy(quantizer.codebook).reshape(-1, 4, 4, 3)
drawing.save(drawing.tokenized(image, book, tokens, decoded), __file__, 1, "tokens")

# %% [markdown]
# One can tell what it was, and also that these patches were not made for this picture. From here
# on the encoder and the decoder are networks (`keras_regvq.models.ImageTokenizer`), and
# the question is how to *learn* the codebook together with them. A generative model over tokens
# can then paint pictures, which is what tokens are for.
#
# ## 2. Nearest-neighbour VQ, and why codes die
#
# VQ-VAE learns the codebook with two losses, $\lVert \mathrm{sg}(e) - z \rVert^2$, which moves the
# chosen code z to the feature e, and $\beta \lVert e - \mathrm{sg}(z) \rVert^2$, which keeps the
# features near their codes; sg stops the gradient. The decoder's gradient is copied from z to e.
#
# Note who learns: **only the chosen code**. A code that is nearest to nothing gets no gradient, so
# it does not move, so it stays nearest to nothing. Two dimensions are enough to see it. The
# features are points in eight clusters, as 32 "pictures" of 8 x 8 points, and the 64 codes start
# in a small clump, as VQ-GAN's do.

# %%
N = 64
clusters = 2 * np.pi * rng.integers(0, 8, 2048) / 8
points = np.stack([np.cos(clusters), np.sin(clusters)], axis=-1) + rng.normal(0, 0.08, (2048, 2))
points = points.astype("float32").reshape(32, 8, 8, 2)


class PointTokenizer(keras.Model):
    """Points -> features -> codes -> points. Without networks the points are the features."""

    def __init__(self, quantizer, encoder=None, decoder=None):
        super().__init__()
        self.quantizer = quantizer
        self.encoder = encoder or keras.layers.Identity()
        self.decoder = decoder or keras.layers.Identity()

    def call(self, points, training=False):
        quantized = self.quantizer(self.encoder(points), training=training)
        for loss in quantized["losses"].values():
            self.add_loss(loss)
        return self.decoder(quantized["embeddings"])

    def used(self):
        """bool (N,): which codes are the best code of any point."""
        tokens = ops.convert_to_numpy(self.quantizer.best_tokens(self.encoder(points)))
        return np.bincount(tokens.ravel(), minlength=N) > 0

    def distance(self):
        """Root mean square distance between the points and what they decode to."""
        decoded = ops.convert_to_numpy(self(points))
        return np.sqrt(np.mean(np.sum((decoded - points) ** 2, axis=-1)))


def train(model, rate=0.01, epochs=48, batch_size=8):
    """Fit, and return the number of used codes after each epoch."""
    steps = epochs * len(points) // batch_size
    schedule = keras.optimizers.schedules.CosineDecay(rate, steps, alpha=0.02)
    model.compile(keras.optimizers.Adam(schedule), loss="mse")
    counts = []
    count = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: counts.append(int(model.used().sum()))
    )
    model.fit(points, points, batch_size, epochs, verbose=0, callbacks=[count])
    return counts


def vq(codebook_initializer=None):
    quantizer = quantizers.VectorQuantizer(N, 2, codebook_initializer=codebook_initializer)
    quantizer.build((None, None, None, 2))
    return quantizer


clump = PointTokenizer(vq())
start, used_at_start = ops.convert_to_numpy(clump.quantizer.codebook).copy(), clump.used()
train(clump, rate=0.05)
spread = PointTokenizer(vq(keras.initializers.RandomUniform(-1.2, 1.2)))
train(spread, rate=0.05)

end = ops.convert_to_numpy(clump.quantizer.codebook)
never_moved = int((start == end).all(axis=-1).sum())
print(f"codes start in a clump:    {clump.used().sum():2} of {N} used at the end,")
print(f"                           {never_moved} never moved, not in the last bit")
print(f"codes start spread out:    {spread.used().sum():2} of {N} used at the end")

# %%
panels = {
    f"start (zoomed in): {used_at_start.sum()} used": (start, used_at_start, 1.35 / N),
    f"clump, trained: {clump.used().sum()} used": (end, clump.used(), 1.35),
    f"spread, trained: {spread.used().sum()} used": (
        ops.convert_to_numpy(spread.quantizer.codebook),
        spread.used(),
        1.35,
    ),
}
drawing.save(drawing.codes_and_points(points, panels), __file__, 2, "dead_codes")

# %% [markdown]
# A dead code is one that no point uses. On the left, the clump before training: only codes on its
# edge are nearest to anything. In the middle, these have moved to the clusters, and the rest of the
# codebook lies dead where it started. On the right, codes that start all over the plane do much
# better, but those that start between the clusters are dead from the first step to the last. In two
# dimensions one can start with good codes. In 256, with an encoder whose features move while it
# learns, one cannot count on it.
#
# ## 3. Predicted distributions
#
# Reg-VQ and Gumbel-VQ do not measure distances. A 1x1 convolution turns the features into
# **logits** l, one a code, and softmax(l) is a predicted distribution over the codebook. There are
# two ways to choose from it:
#
# $$t = \arg\max_n l_n \qquad \text{or} \qquad t = \arg\max_n (l_n + g_n), \quad g_n \sim
# \mathrm{Gumbel}(0, 1).$$
#
# The second is the **Gumbel-max** trick: it draws code n with probability softmax(l)_n exactly. To
# see it, give 4,096 positions the same logits (features of zero, so that the logits are the bias)
# and sample them all, `mask_ratio=1`.

# %%
logits = np.array([1.5, 0.2, -1.0, 0.8, -0.5, 1.2], "float32")
quantizer = quantizers.RegularizedQuantizer(6, 2, mask_ratio=1.0, seed=7)
quantizer.build((None, None, None, 1))
quantizer.bias.assign(logits)

result = quantizer(np.zeros((1, 64, 64, 1), "float32"), training=True)
best = np.unique(ops.convert_to_numpy(result["best_tokens"]))
drawn = np.bincount(ops.convert_to_numpy(result["tokens"]).ravel(), minlength=6) / 4096
predicted = ops.convert_to_numpy(ops.softmax(logits))
print("softmax(l):        ", *(f"{p:.3f}" for p in predicted))
print("share of the draws:", *(f"{p:.3f}" for p in drawn))
print("argmax, everywhere:", *best)

# %% [markdown]
# An argmax has no gradient. The backward pass uses softmax((l + g) / temperature) in its place
# (next part). The **temperature** therefore acts on the gradient alone, never on which code is
# drawn: low, and the gradient's distribution is nearly the drawn code; high, and it spreads over
# all codes.

# %%
noise = quantizer.gumbel_noise(1, 1)[0]  # one draw of g, (1, 1, 6)
noisy = ops.convert_to_numpy(noise)[0, 0] + logits
tempered = {t: ops.convert_to_numpy(ops.softmax(noisy / t)) for t in (0.25, 1.0, 4.0)}
print("l + g:", *(f"{value:.2f}" for value in noisy), "-> drawn:", noisy.argmax())

# %%
drawing.save(drawing.distributions(predicted, drawn, tempered), __file__, 3, "distributions")

# %% [markdown]
# ## 4. The stochastic mask
#
# With the argmax alone, training never tries a code that is not already the best. With samples
# everywhere, as in Gumbel-VQ, the decoder never trains on the tokens that inference will give it,
# which are the argmax. Reg-VQ mixes: each image draws a fresh mask M with
# **exactly** round(ratio * h * w) ones, and
#
# * where M = 0 the code is the argmax, and the backward pass sees softmax(l);
# * where M = 1 the code is sampled, and the backward pass sees softmax((l + g) / temperature).
#
# The paper's ratio is 0.4. At inference nothing is masked and nothing is drawn.

# %%
scene = keras_regvq.data.scene(3, size=256, split="test").image
features = rng.normal(size=(1, 16, 16, 32)).astype("float32")
quantizer = quantizers.RegularizedQuantizer(256, 32, mask_ratio=0.4, seed=1)
steps = [quantizer(features, training=True) for _ in range(3)]
steps = [{k: ops.convert_to_numpy(s[k])[0] for k in s if k != "losses"} for s in steps]

print(f"round(0.4 * 16 * 16) = {round(0.4 * 16 * 16)}")
for step in steps:
    other = step["tokens"] != step["best_tokens"]
    print(
        f"sampled: {step['mask'].sum()}; token differs from the argmax at "
        f"{other[step['mask']].sum()} sampled and {other[~step['mask']].sum()} other positions"
    )
print("sampled at inference:", int(ops.sum(ops.cast(quantizer(features)["mask"], "int32"))))

# %%
drawing.save(drawing.masks(scene, [step["mask"] for step in steps]), __file__, 4, "masks")

# %% [markdown]
# (The features here are random, so the predicted distributions are nearly flat and most samples
# differ from the argmax. While a tokenizer learns, its distributions sharpen.)
#
# **What the backward pass sees.** Forward, a position's embedding is a single row of the codebook
# Z. Backward, with p the softmax of its branch and $a = Z \partial L / \partial z$ the loss's
# slope along each code,
#
# $$\frac{\partial L}{\partial l} = \frac{1}{\tau} p \odot (a - \langle p, a \rangle)$$
#
# ($\tau = 1$ where M = 0), so that *every* code's logit learns, the unused ones too; the codebook
# gets the hard gradient, in the row that was used. Here are both branches at one position. The
# logits are the features (an identity kernel), six codes lie on a circle, and the loss is the
# embedding's first coordinate: codes to the left are better.

# %%
angles = 2 * np.pi * np.arange(6) / 6
circle = np.stack([np.cos(angles), np.sin(angles)], axis=-1).astype("float32")
quantizer = quantizers.RegularizedQuantizer(6, 2, temperature=0.5, seed=6)
quantizer.build((None, None, None, 6))
quantizer.codebook.assign(circle)
quantizer.kernel.assign(np.eye(6, dtype="float32"))

position = ops.reshape(ops.convert_to_tensor(logits), (1, 1, 6))
noise = quantizer.gumbel_noise(1, 1)
rows = {}
for branch, drawn_noise, tau in (("M = 0", None, 1.0), ("M = 1", noise, 0.5)):
    gradient = losses_and_gradient(
        lambda x, n=drawn_noise: {"x": ops.sum(quantizer.look_up(x, n)["embeddings"][..., 0])},
        position,
    )[1]
    gradient = ops.convert_to_numpy(gradient)[0, 0]
    token = int(ops.convert_to_numpy(quantizer.look_up(position, drawn_noise)["tokens"])[0, 0])
    shift = 0 if drawn_noise is None else ops.convert_to_numpy(drawn_noise[0])[0, 0]
    p = ops.convert_to_numpy(ops.softmax((logits + shift) / tau))
    a = circle[:, 0]
    formula = p * (a - p @ a) / tau
    print(f"{branch}: code {token}; gradient and formula differ by", end=" ")
    print("less than 1e-6" if np.abs(gradient - formula).max() < 1e-6 else "more than 1e-6!")
    rows[branch] = (np.eye(6)[token], p, -gradient)

# %%
drawing.save(drawing.branches(rows), __file__, 5, "backward")

# %% [markdown]
# Gradient descent raises the logits of the codes that are better than the average under p, and
# lowers the others, each in proportion to its probability, whichever code was used. (The average is
# a different one in the two rows, so a code can be pushed up in one and down in the other.)
#
# ## 5. The prior
#
# The mask makes training try other codes, but nothing yet says that all of them ought to be used.
# That is the **prior**: the mean use of the codes, P_post, is pulled to the uniform distribution,
#
# $$L_{kl} = \mathrm{KL}(P_{post} \Vert \tfrac{1}{N}) = \sum_n P_n \log (N P_n),$$
#
# which is 0 if all codes are used equally and log N if one code is used for everything. What
# matters is its slope at a code that nothing uses: log(N P_n) tends to minus infinity. The package
# adds a small epsilon inside the logarithm, which leaves a slope that is large and finite.

# %%
usage = {
    "all codes": np.full(8, 1 / 8, "float32"),
    "some more than others": np.array([8, 6, 5, 4, 3, 3, 2, 1], "float32") / 32,
    "two dead codes": np.array([8, 6, 6, 5, 4, 3, 0, 0], "float32") / 32,
}
titled = {}
for name, distribution in usage.items():
    values, slope = losses_and_gradient(
        lambda p: {"kl": losses.kl_to_uniform(p)}, ops.convert_to_tensor(distribution)
    )
    slope = ops.convert_to_numpy(slope)
    print(f"{name + ':':23} KL {float(values['kl']):.3f} nats, slope from {slope.min():6.2f} up")
    titled[f"{name}:\nKL {float(values['kl']):.2f}"] = distribution
print(f"one code only:          KL {float(losses.kl_to_uniform(np.eye(8)[0])):.3f} = log 8")

# %% [markdown]
# **Per image or per batch?** The paper averages over the positions of one image
# (`prior_scope="image"`). An image of h x w positions can use at most h * w codes, so with
# h * w < N its KL never gets below log(N / (h w)), however good the codebook is: the term then asks
# each picture to use as many different codes as it has positions. `prior_scope="batch"`, the
# default here, averages over all positions of the batch, whose floor falls as the batch grows. For
# the paper's size, 256 positions and 1,024 codes:

# %%
positions, codes = 256, 1024
random_tokens = rng.integers(0, codes, (16, positions))  # ideal usage: all codes equally likely
frequencies = np.stack([np.bincount(t, minlength=codes) for t in random_tokens]) / positions
image_kl = float(ops.mean(losses.kl_to_uniform(frequencies)))
sizes = np.arange(1, 17)
batch_kl = [float(losses.kl_to_uniform(frequencies[:size].mean(axis=0))) for size in sizes]
floor = np.log(np.maximum(codes / (positions * sizes), 1))
print(f"floor of one image: log({codes} / {positions}) = {np.log(codes / positions):.3f} nats")
print(f"tokens drawn uniformly: image scope {image_kl:.3f}, batch of 16 {batch_kl[-1]:.3f} nats")

# %%
drawing.save(drawing.prior(titled, slope), __file__, 6, "prior")
curves = {
    "image scope": (np.full(16, image_kl), np.full(16, floor[0])),
    "batch scope": (batch_kl, floor),
}
title = "256 positions, 1,024 codes, tokens drawn uniformly"
drawing.save(drawing.scopes(sizes, curves, title), __file__, 7, "scope")

# %% [markdown]
# **Does it revive codes?** P_post is a count of tokens, which has no gradient either. The estimator
# "hard" (the paper's) sends its gradient through the same straight-through softmax as above;
# "soft", the default here, takes the mean of softmax(l) for P_post, which has a true one. Both
# reach the logits of every code.
#
# The points of part 2 again, now with a small encoder and decoder in front of and behind each
# quantizer, trained alike. (VQ's features have to be as wide as its codes, 2; Reg-VQ's are 32 wide,
# and its codes start spread out, as is its default.)


# %%
def network(outputs):
    return keras.Sequential([keras.layers.Dense(32, "gelu"), keras.layers.Dense(outputs)])


def regvq(prior_weight, prior_estimator="soft"):
    return quantizers.RegularizedQuantizer(
        N, 2, prior_weight=prior_weight, prior_estimator=prior_estimator, seed=0
    )


trained = {
    "VQ": (vq(), 2),
    "Reg-VQ, no prior": (regvq(0.0), 32),
    "Reg-VQ, soft prior 0.01": (regvq(0.01), 32),
    "Reg-VQ, soft prior 1": (regvq(1.0), 32),
    "Reg-VQ, hard prior 0.01": (regvq(0.01, "hard"), 32),
}
curves = {}
for name, (quantizer, width) in trained.items():
    keras.utils.set_random_seed(0)
    trained[name] = PointTokenizer(quantizer, network(width), network(2))
    curves[name] = train(trained[name])
    print(f"{name:23} {curves[name][-1]:2} of {N} codes, distance {trained[name].distance():.3f}")

# %%
step_numbers = 4 * np.arange(1, len(curves["VQ"]) + 1)
drawing.save(drawing.revival(step_numbers, curves, N), __file__, 8, "revival")
panels = {}
for name in ("VQ", "Reg-VQ, no prior", "Reg-VQ, soft prior 1"):
    model = trained[name]
    every_code = model.quantizer.embed(np.arange(N).reshape(1, 8, 8))
    decoded = ops.convert_to_numpy(model.decoder(every_code)).reshape(N, 2)
    panels[f"{name}: {model.used().sum()} used"] = (decoded, model.used(), 1.35)
drawing.save(drawing.codes_and_points(points, panels), __file__, 9, "decoded_codes")

# %% [markdown]
# The scatter plots show each code where the decoder puts it. The prior is what brings codes back;
# the mask alone finds enough of them to cover the clusters and leaves most of the codebook dead.
#
# What this toy does *not* show: that more codes reconstruct better. Compare the distances above,
# also with the well-started VQ of part 2, which has no networks to learn (below). Under a mask the
# decoder trains on sampled codes at 40 % of the positions, which may cost precision, and these runs
# are short. The paper's ablation, as secondary texts quote it, has PSNR fall a little too while the
# pictures' FID improves. Each line is a single run, and the best weight depends on the scale of
# the other losses, so none of these numbers is a recommendation.

# %%
print(f"VQ that starts spread out: {spread.used().sum()} of {N} codes, distance", end=" ")
print(f"{spread.distance():.3f}")

# %% [markdown]
# ## 6. The probabilistic contrastive loss
#
# A contrastive loss on deep features asks position i of the reconstruction to resemble position i
# of the original more than the image's other positions do. But where a sampled code replaced the
# best one, the reconstruction *should not* match, and the more so the further the sampled code is
# from the best. That squared distance is the perturbation $w_i = \lVert z_s - z_q \rVert^2$, and
# with $w'_i = w_i / \sum_j w_j$
#
# $$L_{pcl} = -\frac{1}{L} \sum_i \log \frac{w'_i e^{y_i z_i / \tau}}
# {w'_i e^{y_i z_i / \tau} + \frac{1}{L} \sum_{j \ne i} e^{y_i z_j / \tau}}.$$
#
# A large $w'_i$ satisfies the fraction by itself, and leaves little pull for the similarity. To
# measure the pull, take 64 orthogonal features, let the first one of the reconstruction have
# similarity s to its original (and be orthogonal to everything else), and differentiate by s.

# %%
L, tau = 64, 0.07
basis = ops.eye(L + 1, dtype="float32")
original = basis[None, :L]  # (1, L, L + 1)


def pull(similarity, share):
    """-L dL_pcl/ds of the first position, when its share w'_1 of the weights is `share`."""
    weights = np.full((1, L), (1 - share) / (L - 1), "float32")
    weights[0, 0] = share

    def loss(s):
        first = s * basis[0] + ops.sqrt(1 - s**2) * basis[L]
        reconstructed = ops.concatenate([first[None], basis[1:L]], axis=0)[None]
        value = losses.probabilistic_contrastive_loss(original, reconstructed, weights, tau)
        return {"pcl": value}

    return -L * float(losses_and_gradient(loss, ops.convert_to_tensor(similarity, "float32"))[1])


shares = np.logspace(-4, -0.01, 17)
similarities = (0.1, 0.2, 0.4)
pulls = {s: np.array([pull(s, share) for share in shares]) for s in similarities}
negatives = (L - 1) / L
formula = {s: negatives / (shares * np.exp(s / tau) + negatives) / tau for s in similarities}
largest = max(np.abs(pulls[s] / formula[s] - 1).max() for s in similarities)
print(f"largest relative difference from (1/tau) neg / (w' e^(s/tau) + neg): {largest:.0e}")
print(f"pull at s = 0.2: {pulls[0.2][0]:.1f} at w' = 1e-4, {pulls[0.2][-1]:.1f} at w' = 0.98")
print(f"pull at s = 0.2 where w' is exactly 0: {abs(pull(0.2, 0.0)):.1f}")

# %% [markdown]
# Most weights *are* exactly zero: at the unmasked positions, and where the sample was the best code
# anyway. There the formula has log 0. The package sums over the positions with w > 0 only, so that
# such a position has no pull at all, and a picture whose weights are all zero adds a loss of 0 with
# a gradient of 0, not NaN. On the right are the weights of part 4's first step.

# %%
no_weights = np.zeros((1, L), "float32")
values, gradient = losses_and_gradient(
    lambda z: {"pcl": losses.probabilistic_contrastive_loss(original, z, no_weights)},
    ops.convert_to_tensor(rng.normal(size=original.shape).astype("float32")),
)
print(f"all weights zero: loss {float(values['pcl'])}, ", end="")
print(f"largest gradient {float(ops.max(ops.abs(gradient)))}")

# %%
made = drawing.pulls(shares, pulls, steps[0]["perturbation"])
drawing.save(made, __file__, 10, "contrastive_pull")

# %% [markdown]
# ## 7. One step for two players
#
# Around the quantizer's loss stands VQ-GAN's objective: L1 and perceptual loss, the contrastive
# loss, and a discriminator's opinion, weighted by $\lambda = \lVert \nabla L_{rec} \rVert / (\lVert
# \nabla L_{gan} \rVert + 10^{-4})$ at the decoder's last kernel. Usually that takes a hand-written
# step with two optimizers for each backend. Here it is one loss, since everything above the
# reconstruction r reaches the generator **only through r**:
#
# 1. Reconstruct, and cut: differentiate L_rec and L_gan by the *picture* r alone.
# 2. The last convolution's own backward pass turns these two gradients into lambda.
# 3. The surrogate sum(sg(g_rec + lambda g_gan) * r) has the right gradient for every weight of the
#    generator. The quantizer's loss is added to it.
# 4. The discriminator's hinge loss is added on sg(r), which shows it no generator.
#
# One backward pass then serves both players, and an optimizer hands each variable to its own
# player. `model.fit`, compilation, mixed precision and callbacks are Keras's own.

# %%
drawing.save(drawing.one_step(), __file__, 11, "one_step")

# %% [markdown]
# The cut is exact. With a "generator" of one weight, r = weight * x, differentiate a loss by the
# weight directly, and by way of the picture:

# %%
x = ops.convert_to_tensor(image)


def loss_of_picture(r):
    return {"l1": ops.mean(ops.abs(r - x)), "contrast": 0.1 * ops.std(r)}


weight = ops.convert_to_tensor(np.float32(0.7))
direct = losses_and_gradient(lambda weight: loss_of_picture(weight * x), weight)[1]
terms, picture_gradient = losses_and_gradient(loss_of_picture, weight * x)
values, by_the_cut = losses_and_gradient(
    lambda weight: {"": surrogate(sum(terms.values()), picture_gradient, weight * x)}, weight
)
print(f"direct {float(direct):.6f}, by the cut {float(by_the_cut):.6f}")
print(f"the loss {float(sum(terms.values())):.6f}, the surrogate's value {float(values['']):.6f}")

# %% [markdown]
# ## 8. Where next
#
# * `bash run.sh quickstart` trains a small Reg-VQ tokenizer on these scenes in minutes, on a CPU.
# * `python recipes/train_tokenizer.py --help` is the whole objective as a command: your images, the
#   quantizers, VGG-19 features, the discriminator, mixed precision, resuming.
# * In code, a tokenizer is one line, and training is `fit`:
#
# ```python
# images = keras_regvq.data.scenes(32, size=64)["images"]
# tokenizer = keras_regvq.from_preset("regvq_patch4_256")  # or a directory, hf://user/name
# trainer = keras_regvq.training.TokenizerTrainer(tokenizer)
# trainer.compile(keras.optimizers.Adam(1e-3))
# trainer.fit(images)
# tokens = trainer.tokenizer.encode(images)
# ```
#
# * The formulas live where their names say: `keras_regvq/quantizers/regularized.py` (mask, prior),
#   `keras_regvq/quantizers/straight_through.py` (its gradient, without ever holding
#   all positions times all codes), `keras_regvq/losses/` (KL, PCL) and
#   `keras_regvq/training/adversarial/surrogate.py` (the cut).
