"""The plain-PyTorch peer, against hand calculations, finite differences and PyTorch's functions.

It is the reference of other tests, so nothing here may come from `keras_regvq`.
"""

import copy
import math
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from benchmarks.plain_torch import losses  # noqa: E402
from benchmarks.plain_torch.quantizers import (  # noqa: E402
    GumbelQuantizer,
    RegularizedQuantizer,
    VectorQuantizer,
    kl_to_uniform,
    straight_through,
)
from benchmarks.plain_torch.train_step import PlainTrainer  # noqa: E402
from benchmarks.plain_torch.vgg_and_patchgan import PatchDiscriminator, VGG19Features  # noqa: E402
from benchmarks.plain_torch.vqgan import (  # noqa: E402
    VQGAN,
    AttnBlock,
    Downsample,
    ResnetBlock,
    Upsample,
)

KEYS_FILE = Path(__file__).parents[1] / "data_files" / "taming_f16_keys.txt"
TINY = dict(
    ch=8, ch_mult=(1, 2), num_res_blocks=1, attn_resolutions=(8,), resolution=16, z_channels=6
)


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def randn(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def parameter_count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


# --- networks


def test_the_f16_model_has_the_published_tensors():
    with torch.device("meta"):
        model = VQGAN(VectorQuantizer(1024, 256))
    expected = dict(line.split(" ", 1) for line in KEYS_FILE.read_text().splitlines())
    assert {k: str(list(v.shape)) for k, v in model.state_dict().items()} == expected
    assert len(expected) == 343
    assert parameter_count(model) == 72_141_699
    assert parameter_count(model.encoder) == 29_298_176
    assert parameter_count(model.decoder) == 42_449_795


def test_the_f8_gumbel_model_has_the_published_size():
    with torch.device("meta"):
        model = VQGAN(GumbelQuantizer(8192, 256), ch_mult=(1, 1, 2, 4), attn_resolutions=(32,))
    assert len(model.state_dict()) == 301
    assert parameter_count(model) == 68_995_971
    assert model.state_dict()["quantize.proj.weight"].shape == (8192, 256, 1, 1)
    assert model.state_dict()["quantize.embed.weight"].shape == (8192, 256)


def test_a_tiny_model_runs_at_sizes_other_than_its_resolution():
    model = VQGAN(VectorQuantizer(5, 4), embed_dim=4, **TINY).eval()
    reconstructed, quantized = model(torch.rand(2, 3, 24, 16))
    assert reconstructed.shape == (2, 3, 24, 16)
    assert quantized["embeddings"].shape == (2, 4, 12, 8)
    assert quantized["tokens"].shape == (2, 12, 8)


def group_normalized(x, groups):
    """(B, C, H, W) with the affine part at its initial identity."""
    grouped = x.reshape(x.shape[0], groups, -1)
    mean, variance = grouped.mean(-1, keepdims=True), grouped.var(-1, keepdims=True)
    return ((grouped - mean) / np.sqrt(variance + 1e-6)).reshape(x.shape)


def test_attention_matches_numpy():
    block, x = AttnBlock(8).double(), randn(2, 8, 2, 3)
    weights = {k: v.detach().numpy() for k, v in block.named_parameters()}

    def project(name, values):  # (B, L, C)
        return values @ weights[f"{name}.weight"][:, :, 0, 0].T + weights[f"{name}.bias"]

    # gcd(32, 8) = 8 groups; six positions, one row each.
    rows = group_normalized(x.numpy(), 8).reshape(2, 8, 6).transpose(0, 2, 1)
    query, key, value = (project(name, rows) for name in "qkv")
    attended = softmax(query @ key.transpose(0, 2, 1) / np.sqrt(8)) @ value
    change = project("proj_out", attended).transpose(0, 2, 1).reshape(x.shape)
    np.testing.assert_allclose(block(x).detach().numpy(), x.numpy() + change, rtol=1e-10)


def test_a_residual_block_normalises_before_each_convolution():
    block, x = ResnetBlock(6, 4).double(), randn(2, 6, 3, 3)

    def convolved(name, values):
        layer = getattr(block, name)
        padding = layer.weight.shape[-1] // 2
        values = torch.nn.functional.conv2d(
            torch.from_numpy(values), layer.weight, layer.bias, padding=padding
        )
        return values.detach().numpy()

    def swish(values):
        return values / (1 + np.exp(-values))

    # gcd(32, 6) = 2 groups and gcd(32, 4) = 4.
    hidden = convolved("conv1", swish(group_normalized(x.numpy(), 2)))
    hidden = convolved("conv2", swish(group_normalized(hidden, 4)))
    expected = convolved("nin_shortcut", x.numpy()) + hidden
    np.testing.assert_allclose(block(x).detach().numpy(), expected, rtol=1e-9)


def test_downsampling_pads_right_and_bottom_and_upsampling_repeats():
    x = torch.rand(1, 1, 4, 6)
    down, up = Downsample(1), Upsample(1)
    for tap, expected in [(0, x[..., ::2, ::2]), (2, None)]:
        torch.nn.init.zeros_(down.conv.bias)
        torch.nn.init.zeros_(down.conv.weight)
        down.conv.weight.data[0, 0, tap, tap] = 1.0
        if expected is None:
            expected = torch.zeros(1, 1, 2, 3)
            expected[..., :1, :2] = x[..., 2::2, 2::2]
        assert torch.equal(down(x), expected)
    torch.nn.init.dirac_(up.conv.weight)
    torch.nn.init.zeros_(up.conv.bias)
    assert torch.equal(up(x), x.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_the_discriminator_gives_30_by_30_logits_for_256_pixels():
    with torch.device("meta"):
        discriminator = PatchDiscriminator()
        logits = discriminator(torch.zeros(1, 3, 256, 256))
    assert logits.shape == (1, 1, 30, 30)
    # 4x4 convolutions 3-64-128-256-512-1: biases on the first and last, two scales a norm.
    expected = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512)
    expected += 64 + 1 + 2 * (128 + 256 + 512)
    assert parameter_count(discriminator) == expected


def test_vgg_taps_end_in_relu_at_strides_1_to_16():
    with torch.device("meta"):
        features = VGG19Features()
        taps = features(torch.zeros(1, 3, 32, 32))
    sizes = [(64, 32), (128, 16), (256, 8), (512, 4), (512, 2)]
    assert [tap.shape[1:] for tap in taps] == [(c, s, s) for c, s in sizes]
    # The last convolution is conv5_3: 2 + 2 + 4 + 4 + 3 of them, and no trainable weight.
    convolutions = [k for k in features.state_dict() if k.endswith("weight")]
    assert len(convolutions) == 15 and convolutions[-1] == "features.32.weight"
    assert not any(parameter.requires_grad for parameter in features.parameters())
    small = VGG19Features(channels=(2, 2, 2, 2, 2))
    assert all((tap >= 0).all() for tap in small(torch.rand(1, 3, 16, 16)))


# --- quantizers


def test_vector_quantizer_takes_the_nearest_code_and_weighs_the_commitment_term():
    quantizer = VectorQuantizer(7, 3, commitment_weight=0.25).double()
    features = randn(2, 3, 4, 5).requires_grad_()
    result = quantizer(features)
    codebook = quantizer.embedding.weight
    encoded = features.permute(0, 2, 3, 1)
    distances = (encoded[..., None, :] - codebook).square().sum(-1)
    assert torch.equal(result["tokens"], distances.argmin(-1))
    torch.testing.assert_close(
        result["embeddings"].permute(0, 2, 3, 1), codebook[result["tokens"]], rtol=0, atol=1e-12
    )
    difference = (encoded - codebook[result["tokens"]]).detach()
    terms = result["losses"]
    torch.testing.assert_close(terms["codebook"].detach(), difference.square().mean())
    torch.testing.assert_close(terms["commitment"].detach(), 0.25 * difference.square().mean())
    # Each term moves its own side only, and beta belongs to the encoder's.
    pulls = torch.autograd.grad(
        terms["commitment"], (features, codebook), retain_graph=True, allow_unused=True
    )
    expected = 0.25 * 2 * difference.permute(0, 3, 1, 2) / features.numel()
    torch.testing.assert_close(pulls[0], expected)
    assert pulls[1] is None
    assert torch.autograd.grad(
        terms["codebook"], features, retain_graph=True, allow_unused=True
    ) == (None,)
    # Straight-through: the encoder receives the decoder's gradient unchanged.
    upstream = randn(2, 3, 4, 5)
    (received,) = torch.autograd.grad(result["embeddings"], features, upstream)
    assert torch.equal(received, upstream)


def test_gumbel_quantizer_agrees_with_torch_gumbel_softmax():
    quantizer = GumbelQuantizer(6, 3, temperature=0.7).double()
    features = randn(2, 3, 2, 2).requires_grad_()
    upstream = randn(2, 3, 2, 2)
    torch.manual_seed(5)
    result = quantizer(features)
    (gradient,) = torch.autograd.grad(result["embeddings"], features, upstream)
    torch.manual_seed(5)
    logits = quantizer.proj(features).flatten(2).transpose(1, 2)
    one_hot = torch.nn.functional.gumbel_softmax(logits, tau=0.7, hard=True)
    expected = (one_hot @ quantizer.embed.weight).transpose(1, 2).reshape(2, 3, 2, 2)
    torch.testing.assert_close(result["embeddings"], expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, features, upstream)[0])
    q = softmax(logits.detach().numpy())
    kl = 5e-4 * np.mean(np.sum(q * np.log(q * 6), axis=-1))
    np.testing.assert_allclose(result["losses"]["kl"].item(), kl, rtol=1e-6)


@pytest.mark.parametrize("quantizer_class", [GumbelQuantizer, RegularizedQuantizer])
def test_inference_has_no_noise_and_no_mask(quantizer_class):
    quantizer = quantizer_class(6, 3).eval()
    features = torch.randn(2, 3, 4, 4)
    first, second = quantizer(features), quantizer(features)
    assert torch.equal(first["tokens"], quantizer.proj(features).argmax(1))
    assert torch.equal(first["embeddings"], second["embeddings"])
    assert not first["mask"].any() and not first["perturbation"].any()


@pytest.mark.parametrize("ratio, count", [(0.0, 0), (0.4, 10), (1.0, 24)])
def test_masks_have_an_exact_count_and_differ_between_images(ratio, count):
    result = RegularizedQuantizer(6, 3, mask_ratio=ratio)(torch.randn(8, 3, 4, 6))
    masks = result["mask"].flatten(1)
    assert masks.sum(dim=1).tolist() == [count] * 8
    assert len(set(map(tuple, masks.tolist()))) == (8 if 0 < count < 24 else 1)
    assert torch.equal(result["tokens"][~result["mask"]], result["best_tokens"][~result["mask"]])


def test_regularized_quantizer_value_and_gradients_follow_the_two_branches():
    batch, height, width, codes, dims, tau = 2, 2, 3, 5, 4, 0.6
    quantizer = RegularizedQuantizer(codes, dims, temperature=tau).double()
    logits = randn(batch, codes, height, width).requires_grad_()
    noise = 3 * randn(batch, height * width, codes)
    mask = torch.tensor([[[1, 0, 1], [0, 1, 0]], [[0, 1, 1], [1, 1, 1]]])
    result = quantizer.quantize_logits(logits, noise, mask)
    upstream = randn(batch, dims, height, width)
    gradients = torch.autograd.grad(
        result["embeddings"], (logits, quantizer.embed.weight), upstream
    )

    codebook = quantizer.embed.weight.detach().numpy()
    tokens = np.zeros((batch, height, width), int)
    logits_gradient = np.zeros((batch, codes, height, width))
    codebook_gradient = np.zeros_like(codebook)
    changed = 0
    for b, r, c in np.ndindex(batch, height, width):
        row = logits.detach().numpy()[b, :, r, c]
        best, temperature = row.argmax(), 1.0
        if mask[b, r, c]:
            row, temperature = row + noise.numpy()[b, r * width + c], tau
        token, soft = row.argmax(), softmax(row / temperature)
        g = upstream.numpy()[b, :, r, c]
        codebook_gradient[token] += g
        jacobian = (np.diag(soft) - np.outer(soft, soft)) / temperature
        logits_gradient[b, :, r, c] = jacobian @ (codebook @ g)
        tokens[b, r, c] = token
        changed += token != best
        squared = np.sum((codebook[token] - codebook[best]) ** 2)
        np.testing.assert_allclose(result["perturbation"][b, r, c].item(), squared, rtol=1e-12)
        assert result["best_tokens"][b, r, c] == best
    assert changed > 0
    assert np.array_equal(result["tokens"].numpy(), tokens)
    assert not result["perturbation"].requires_grad
    chosen = codebook[tokens].transpose(0, 3, 1, 2)
    np.testing.assert_allclose(result["embeddings"].detach().numpy(), chosen, rtol=1e-12)
    np.testing.assert_allclose(gradients[0].numpy(), logits_gradient, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(gradients[1].numpy(), codebook_gradient, rtol=1e-10, atol=1e-12)


def test_kl_to_uniform_matches_a_hand_calculation():
    # 3/4 log 3 + 1/4 log 1 = 0.8239592; a single code gives log 4; uniform gives 0.
    distributions = torch.tensor(
        [[0.75, 0.25, 0, 0], [1, 0, 0, 0], [0.25, 0.25, 0.25, 0.25]], dtype=torch.float64
    )
    np.testing.assert_allclose(
        kl_to_uniform(distributions).numpy(), [0.8239592165, math.log(4), 0.0], atol=1e-9
    )


@pytest.mark.parametrize(
    "scope, expected",
    # Image 1 uses codes 0,0,0,1 and image 2 only code 2, of N = 4: KL 0.8239592 and log 4;
    # over the batch P = (3/8, 1/8, 1/2, 0): 3/8 log 1.5 - 1/8 log 2 + 1/2 log 2 = 0.4119796.
    [("image", (0.8239592165 + math.log(4)) / 2), ("batch", 0.4119796082)],
)
def test_hard_prior_matches_a_hand_calculation(scope, expected):
    quantizer = RegularizedQuantizer(4, 2, prior_weight=10.0, prior_scope=scope).double().eval()
    tokens = torch.tensor([[[0, 0], [0, 1]], [[2, 2], [2, 2]]])
    logits = torch.nn.functional.one_hot(tokens, 4).double().permute(0, 3, 1, 2)
    prior = quantizer.quantize_logits(logits)["losses"]["prior"].item()
    np.testing.assert_allclose(prior, 10 * expected, rtol=1e-8)


def test_soft_prior_ignores_noise_and_temperature():
    quantizer = RegularizedQuantizer(
        4, 2, mask_ratio=1.0, temperature=0.1, prior_weight=1.0, prior_estimator="soft"
    ).double()
    logits = randn(2, 4, 2, 3)
    mean = softmax(logits.numpy().transpose(0, 2, 3, 1)).mean(axis=(1, 2))
    expected = np.mean(np.sum(mean * np.log(4 * mean), axis=-1))
    prior = quantizer.quantize_logits(logits)["losses"]["prior"].item()
    np.testing.assert_allclose(prior, expected, rtol=1e-8)


def test_the_hard_prior_pulls_unused_codes_up_with_a_finite_gradient():
    quantizer = RegularizedQuantizer(4, 2, prior_weight=1.0).double().eval()
    logits = torch.zeros(1, 4, 2, 2, dtype=torch.float64)
    logits[:, 0] = 1.0
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(quantizer.quantize_logits(logits)["losses"]["prior"], logits)
    assert torch.isfinite(gradient).all()
    assert (gradient[:, 0] > 0).all() and (gradient[:, 1:] < 0).all()


def test_straight_through_is_exactly_one_hot_in_value():
    soft = torch.randn(50, 9).softmax(-1)
    tokens = torch.randint(9, (50,))
    assert torch.equal(straight_through(tokens, soft), torch.eye(9)[tokens])


# --- losses


def contrastive_by_loops(original, reconstructed, weights, tau):
    """The two formulas, term by term; `weights` None is the plain loss."""
    total = 0.0
    batch, length, _ = original.shape
    for b in range(batch):
        y = original[b] / np.linalg.norm(original[b], axis=-1, keepdims=True)
        z = reconstructed[b] / np.linalg.norm(reconstructed[b], axis=-1, keepdims=True)
        for i in range(length):
            own = math.exp(y[i] @ z[i] / tau)
            others = sum(math.exp(y[i] @ z[j] / tau) for j in range(length) if j != i)
            if weights is not None:
                own, others = own * weights[b, i] / weights[b].sum(), others / length
            if own > 0:
                total -= math.log(own / (own + others)) / length
    return total / batch


@pytest.fixture
def pair_and_weights():
    weights = torch.rand(2, 6, dtype=torch.float64)
    weights[0, [1, 4]] = 0.0
    return randn(2, 6, 5), randn(2, 6, 5), weights


def test_contrastive_losses_match_the_formulas(pair_and_weights):
    original, reconstructed, weights = pair_and_weights
    arrays = original.numpy(), reconstructed.numpy()
    np.testing.assert_allclose(
        losses.contrastive_loss(original, reconstructed, 0.2).item(),
        contrastive_by_loops(*arrays, None, 0.2),
        rtol=1e-10,
    )
    np.testing.assert_allclose(
        losses.probabilistic_contrastive_loss(original, reconstructed, weights, 0.2).item(),
        contrastive_by_loops(*arrays, weights.numpy(), 0.2),
        rtol=1e-10,
    )


def test_probabilistic_contrastive_gradients_match_finite_differences(pair_and_weights):
    original, reconstructed, weights = pair_and_weights
    weights.requires_grad_()
    points = original.requires_grad_(), reconstructed.requires_grad_()
    loss = losses.probabilistic_contrastive_loss(*points, weights, 0.2)
    *gradients, to_weights = torch.autograd.grad(loss, (*points, weights), allow_unused=True)
    assert to_weights is None
    arrays = [point.detach().numpy() for point in points]
    step = 1e-6
    for which, gradient in enumerate(gradients):
        for index in np.ndindex(*gradient.shape):
            ends = []
            for sign in (1, -1):
                moved = [array.copy() for array in arrays]
                moved[which][index] += sign * step
                ends.append(contrastive_by_loops(*moved, weights.detach().numpy(), 0.2))
            slope = (ends[0] - ends[1]) / (2 * step)
            np.testing.assert_allclose(gradient[index].item(), slope, rtol=1e-5, atol=1e-8)


def test_all_zero_weights_give_a_zero_loss_and_finite_gradients(pair_and_weights):
    original, reconstructed, weights = pair_and_weights
    reconstructed.requires_grad_()
    for zeros in (torch.zeros_like(weights), weights * torch.tensor([[0.0], [1.0]])):
        loss = losses.probabilistic_contrastive_loss(original, reconstructed, zeros)
        (gradient,) = torch.autograd.grad(loss, reconstructed)
        assert torch.isfinite(loss) and torch.isfinite(gradient).all()
        assert not gradient[0].any()
        assert (loss == 0) == (not zeros.any())
    one = losses.probabilistic_contrastive_loss(
        original[:, :1], reconstructed[:, :1], torch.ones(2, 1)
    )
    assert one.item() == 0
    assert torch.isfinite(torch.autograd.grad(one, reconstructed)[0]).all()


def test_a_larger_perturbation_gets_a_weaker_pull():
    # Orthogonal unit vectors: every similarity is 0, and the gradient of y_0 along z_0 is
    # d loss / d(y_0 . z_0) = -1/L * negatives / (w'_0 + negatives), with negatives = 3/4.
    basis = torch.eye(8, dtype=torch.float64)[None]
    original, reconstructed = basis[:, 4:].clone().requires_grad_(), basis[:, :4]
    pulls = []
    for weight in (0.1, 1.0, 10.0):
        weights = torch.tensor([[weight, 1.0, 1.0, 1.0]])
        loss = losses.probabilistic_contrastive_loss(original, reconstructed, weights, 1.0)
        (gradient,) = torch.autograd.grad(loss, original)
        pulls.append(-gradient[0, 0, 0].item())
        np.testing.assert_allclose(
            pulls[-1], 0.25 * 0.75 / (weight / (weight + 3) + 0.75), rtol=1e-6
        )
    assert pulls[0] > pulls[1] > pulls[2] > 0


def test_perceptual_loss_is_a_sum_over_layers_of_unit_vector_distances():
    first = [randn(2, 3, 4, 4), randn(2, 5, 2, 2)]
    second = [randn(2, 3, 4, 4), randn(2, 5, 2, 2)]
    expected = 0.0
    for a, b in zip(first, second, strict=True):
        # |u - v|^2 = 2 - 2 cos for unit vectors
        expected += (2 - 2 * torch.cosine_similarity(a, b, dim=1)).mean().item()
    np.testing.assert_allclose(losses.perceptual_loss(first, second).item(), expected, rtol=1e-8)
    np.testing.assert_allclose(losses.perceptual_loss(first, first).item(), 0.0)


def test_hinge_losses_match_a_hand_calculation():
    real, fake = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-2.0, 0.0, 1.0])
    # real: 0, 0.5, 2; fake: 0, 1, 2
    assert losses.hinge_discriminator_loss(real, fake).item() == pytest.approx(
        0.5 * (2.5 / 3 + 1.0)
    )
    assert losses.hinge_generator_loss(fake + 1).item() == pytest.approx(-2 / 3)


# --- the training step


def make_trainer(**options):
    model = VQGAN(RegularizedQuantizer(5, 4), embed_dim=4, **TINY)
    discriminator = PatchDiscriminator(base_channels=4, num_layers=1)
    features = VGG19Features(channels=(2, 3, 4, 4, 4))
    options = {"learning_rate": 1e-3, "contrastive_weight": 0.5, **options}
    return PlainTrainer(model, discriminator, features, **options)


def test_both_players_gradients_belong_to_the_weights_before_the_step():
    trainer = make_trainer()
    for module in (trainer.model, trainer.discriminator, trainer.features):
        module.double()
    images = torch.rand(2, 3, 16, 16, dtype=torch.float64)
    noise, mask = 3 * randn(2, 64, 5), torch.rand(2, 8, 8) < 0.5
    positions = [torch.randperm(side * side)[:20] for side in (16, 8, 4, 2, 1)]
    before = copy.deepcopy(trainer)
    logs = trainer.step(images, ramp=0.3, positions=positions, noise=noise, mask=mask)

    # The same by the chain rule through the reconstruction, on the weights from before the step.
    fake, quantized = before.model(2 * images - 1, noise=noise, mask=mask)
    leaf = fake.detach().requires_grad_()
    l1 = (images - (leaf + 1) / 2).abs().mean()
    original, reconstructed = before.features(images), before.features((leaf + 1) / 2)
    perceptual = losses.perceptual_loss(original, reconstructed)
    contrastive = 0.0
    for y, z, chosen in zip(original, reconstructed, positions, strict=True):
        side = y.shape[-1]
        centre = [int((k + 0.5) * 8 / side) for k in range(side)]
        weights = quantized["perturbation"][:, centre][:, :, centre].flatten(1)[:, chosen]
        rows = (x.flatten(2)[..., chosen].transpose(1, 2) for x in (y, z))
        contrastive += losses.probabilistic_contrastive_loss(*rows, weights) / 5
    reconstruction = l1 + perceptual + 0.5 * contrastive
    (to_image,) = torch.autograd.grad(reconstruction, leaf)
    leaf_again = leaf.detach().requires_grad_()
    (gan_to_image,) = torch.autograd.grad(-before.discriminator(leaf_again).mean(), leaf_again)
    last = before.model.decoder.conv_out.weight
    norms = [
        torch.autograd.grad(fake, last, g, retain_graph=True)[0].norm()
        for g in (to_image, gan_to_image)
    ]
    weight = norms[0] / (norms[1] + 1e-4)
    surrogate = ((to_image + 0.3 * 0.8 * weight * gan_to_image) * fake).sum()
    parameters = list(before.model.parameters())
    expected = torch.autograd.grad(surrogate + quantized["losses"]["prior"], parameters)
    for parameter, gradient in zip(trainer.model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-8, atol=1e-11)
    disc_loss = losses.hinge_discriminator_loss(
        before.discriminator(2 * images - 1), before.discriminator(leaf.detach())
    )
    expected = torch.autograd.grad(disc_loss, list(before.discriminator.parameters()))
    for parameter, gradient in zip(trainer.discriminator.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-8, atol=1e-11)

    assert contrastive > 0
    for name, value in {
        "l1": l1,
        "perceptual": perceptual,
        "contrastive": contrastive,
        "reconstruction": reconstruction,
        "adaptive_weight": weight,
        "discriminator": disc_loss,
        "prior": quantized["losses"]["prior"],
    }.items():
        np.testing.assert_allclose(logs[name], value.item(), rtol=1e-5, err_msg=name)


def test_adam_moves_every_weight_by_the_learning_rate_at_first():
    trainer = make_trainer()
    before = copy.deepcopy(trainer)
    trainer.step(torch.rand(2, 3, 16, 16))
    for name in ("model", "discriminator"):
        pairs = zip(
            getattr(trainer, name).parameters(), getattr(before, name).parameters(), strict=True
        )
        for new, old in pairs:
            moved = (new - old).abs()[new.grad.abs() > 1e-5]
            torch.testing.assert_close(moved, torch.full_like(moved, 1e-3), rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("options", [{"fresh_forward": True}, {"bf16": True}])
def test_options_train_both_players(options):
    trainer = make_trainer(**options)
    before = copy.deepcopy(trainer)
    logs = trainer.step(torch.rand(2, 3, 16, 16))
    assert all(math.isfinite(value) for value in logs.values())
    for name in ("model", "discriminator"):
        new, old = (next(getattr(t, name).parameters()) for t in (trainer, before))
        assert not torch.equal(new, old)
        # Autocast's weight cache can silently detach a weight that was first cast without grad.
        assert all(weight.grad is not None for weight in getattr(trainer, name).parameters())


def test_reconstruction_alone_needs_no_other_network():
    model = VQGAN(VectorQuantizer(5, 4), embed_dim=4, **TINY)
    trainer = PlainTrainer(model, learning_rate=2e-3)
    images = torch.rand(4, 3, 16, 16)
    history = [trainer.step(images) for _ in range(15)]
    assert set(history[0]) == {"reconstruction", "l1", "codebook", "commitment", "total"}
    assert history[-1]["l1"] < 0.9 * history[0]["l1"]
