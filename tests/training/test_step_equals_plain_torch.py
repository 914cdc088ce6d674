"""One training step of both players against the usual two-optimizer step in plain PyTorch."""

import keras
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from keras_hub.models import VGGBackbone  # noqa: E402

from benchmarks.plain_torch import quantizers as plain_quantizers  # noqa: E402
from benchmarks.plain_torch import vgg_and_patchgan as plain_networks  # noqa: E402
from benchmarks.plain_torch.port_weights import (  # noqa: E402
    copy_weights,
    discriminator_names,
    gradients_in_keras_layout,
    tokenizer_names,
    vgg19_names,
)
from benchmarks.plain_torch.train_step import PlainTrainer  # noqa: E402
from benchmarks.plain_torch.vqgan import VQGAN  # noqa: E402
from keras_regvq.models import ImageTokenizer, PatchDiscriminator, VGG19Features  # noqa: E402
from keras_regvq.quantizers import (  # noqa: E402
    GumbelQuantizer,
    RegularizedQuantizer,
    VectorQuantizer,
)
from keras_regvq.training import TokenizerTrainer  # noqa: E402

CODES, WIDTH, CHANNELS, GRID = 12, 6, 5, 8
STAGES = (8, 8, 8, 8, 8)
REGULARIZED = {"mask_ratio": 0.4, "temperature": 0.7, "prior_weight": 0.5}
IMAGE_HARD = {"prior_scope": "image", "prior_estimator": "hard"}
BATCH_SOFT = {"prior_scope": "batch", "prior_estimator": "soft"}
WEIGHTS = {"l1_weight": 2.0, "perceptual_weight": 0.7, "contrastive_weight": 0.3}


def fixed_uniform(shape, *arguments, seed=None, **options):
    """In place of keras.random.uniform: one draw a shape, known to both sides."""
    return keras.ops.convert_to_tensor(draw(tuple(shape)))


def draw(shape):
    return np.random.default_rng(shape).random(shape, dtype="float32")


def gumbel(uniform):
    return -np.log(-np.log(uniform.astype("float64")))


def plain_draws(ours):
    """What the plain quantizer must be given to draw as ours does from `fixed_uniform`."""
    if isinstance(ours, VectorQuantizer):
        return {}
    length = GRID * GRID
    noise = torch.from_numpy(gumbel(draw((2, length, CODES))))
    if isinstance(ours, GumbelQuantizer):
        return {"noise": noise}
    # The positions of the smallest numbers are sampled.
    order = np.argsort(draw((2, length)), axis=1)[:, : round(ours.mask_ratio * length)]
    mask = np.zeros((2, length), bool)
    np.put_along_axis(mask, order, True, axis=1)
    return {"noise": noise, "mask": torch.from_numpy(mask.reshape(2, GRID, GRID))}


def pair_of_trainers(ours, plain, **settings):
    """A TokenizerTrainer and a float64 PlainTrainer with equal weights, and how they pair up."""
    vqgan = VQGAN(
        plain,
        ch=8,
        ch_mult=(1, 2),
        num_res_blocks=1,
        attn_resolutions=(8,),
        resolution=16,
        z_channels=CHANNELS,
        embed_dim=WIDTH,
    )
    discriminator = plain_networks.PatchDiscriminator(base_channels=4, num_layers=1)
    features = plain_networks.VGG19Features(STAGES)
    for weights in features.parameters():
        if weights.ndim == 1:
            # Feature vectors away from zero, where the two ways to guard a division by their
            # length (|x| + eps, sqrt(x^2 + eps)) differ.
            weights.data += 0.5
    discriminator.main[-1].weight.data *= 8.0  # so that the hinge lets some logits go
    torch.nn.init.normal_(getattr(plain, "embedding", getattr(plain, "embed", None)).weight)
    reference = PlainTrainer(
        vqgan.double(),
        discriminator.double(),
        features.double(),
        contrastive=settings.get("contrastive", "probabilistic"),
        adversarial_weight=0.8,
        **WEIGHTS,
    )

    tokenizer = ImageTokenizer(
        16,
        ours,
        base_channels=8,
        channel_multipliers=(1, 2),
        num_res_blocks=1,
        attention_resolutions=(8,),
        latent_channels=CHANNELS,
    )
    trainer = TokenizerTrainer(
        tokenizer,
        PatchDiscriminator(4, 1),
        VGG19Features(backbone=VGGBackbone([2, 2, 4, 4, 4], list(STAGES))),
        adversarial_weight=0.8,
        discriminator_ramp=4,
        **WEIGHTS,
        **settings,
    )
    names = [
        tokenizer_names(vqgan, tokenizer),
        discriminator_names(discriminator, trainer.discriminator),
    ]
    copy_weights(vqgan, names[0])
    copy_weights(discriminator, names[1])
    copy_weights(features, vgg19_names(features, trainer.feature_extractor))
    return trainer, reference, names


CASES = {
    "Reg-VQ, image, hard, PCL": (
        lambda: RegularizedQuantizer(CODES, WIDTH, **REGULARIZED, **IMAGE_HARD),
        lambda: plain_quantizers.RegularizedQuantizer(CODES, WIDTH, **REGULARIZED, **IMAGE_HARD),
        {},
    ),
    "Reg-VQ, batch, soft, CL": (
        lambda: RegularizedQuantizer(CODES, WIDTH, **REGULARIZED, **BATCH_SOFT),
        lambda: plain_quantizers.RegularizedQuantizer(CODES, WIDTH, **REGULARIZED, **BATCH_SOFT),
        {"contrastive": "plain"},
    ),
    "Gumbel-VQ, PCL": (
        lambda: GumbelQuantizer(CODES, WIDTH, temperature=0.8, kl_weight=0.5),
        lambda: plain_quantizers.GumbelQuantizer(CODES, WIDTH, temperature=0.8, kl_weight=0.5),
        {},
    ),
    "VQ-GAN, CL": (
        lambda: VectorQuantizer(CODES, WIDTH, commitment_weight=0.3),
        lambda: plain_quantizers.VectorQuantizer(CODES, WIDTH, commitment_weight=0.3),
        {"contrastive": "plain"},
    ),
}


def seldom_but_for_regvq(case):
    return case if case.startswith("Reg-VQ") else pytest.param(case, marks=pytest.mark.seldom)


@pytest.mark.parametrize("case", list(map(seldom_but_for_regvq, CASES)))
def test_both_players_move_as_the_plain_two_optimizer_step_moves_them(case, monkeypatch):
    torch.manual_seed(0)
    make_ours, make_plain, settings = CASES[case]
    ours = make_ours()
    trainer, reference, names = pair_of_trainers(ours, make_plain(), **settings)
    monkeypatch.setattr(keras.random, "uniform", fixed_uniform)
    images = np.random.default_rng(1).random((2, 16, 16, 3), dtype="float32")

    trainer.compile(keras.optimizers.SGD(1.0), keras.optimizers.SGD(1.0))
    before = [{name: value(v) for name, v in player.items()} for player in names]
    logs = trainer.train_on_batch(images, return_dict=True)

    plain_images = torch.from_numpy(images).double().permute(0, 3, 1, 2)
    plain_logs = reference.step(plain_images, ramp=0.25, **plain_draws(ours))

    expected = {
        "loss": plain_logs["total"] + plain_logs["discriminator"],
        "l1": 2.0 * plain_logs["l1"],
        "perceptual": 0.7 * plain_logs["perceptual"],
        "contrastive": 0.3 * plain_logs["contrastive"],
        "adaptive_weight": plain_logs["adaptive_weight"],
        "generator": 0.8 * 0.25 * plain_logs["adaptive_weight"] * plain_logs["adversarial"],
        **{name: plain_logs[name] for name in ("discriminator", *ours.loss_names)},
    }
    assert all(abs(loss) > 1e-4 for loss in expected.values()), expected
    for name, loss in expected.items():
        np.testing.assert_allclose(logs[name], loss, rtol=2e-5, atol=2e-6, err_msg=name)

    modules = reference.model, reference.discriminator
    for player, module, old in zip(names, modules, before, strict=True):
        gradients = gradients_in_keras_layout(module, player)
        largest = max(np.abs(gradient).max() for gradient in gradients.values())
        for name, gradient in gradients.items():
            assert np.abs(gradient).max() > 0, name
            moved = old[name] - value(player[name])
            assert np.abs(moved - gradient).max() < 1e-5 * largest, name


def value(variable):
    return np.array(keras.ops.convert_to_numpy(variable))
