"""A cell of the ablation: one variant is trained on one data set with one seed, and measured."""

import math
import time

import keras
from ablation_hybrids import MaskedVectorQuantizer

from keras_regvq.models import (
    AutoregressivePrior,
    DiffusionPrior,
    EfficientNetLite0Features,
    ImageTokenizer,
    PatchDiscriminator,
    VGG19Features,
)
from keras_regvq.pictures import image_grid
from keras_regvq.quantizers import (
    FiniteScalarQuantizer,
    GumbelQuantizer,
    IndexBackpropagationQuantizer,
    LookupFreeQuantizer,
    RegularizedQuantizer,
    ResidualQuantizer,
    SimVQQuantizer,
    VectorQuantizer,
)
from keras_regvq.training import Muon, NonFiniteLoss, TokenizerTrainer
from shared.evaluation import evaluate
from shared.set_distances import distances, feature_networks

BY_CODES = {
    "vq": VectorQuantizer,
    "masked_vq": MaskedVectorQuantizer,
    "simvq": SimVQQuantizer,
    "ibq": IndexBackpropagationQuantizer,
}


def build_quantizer(settings, scale, seed):
    if settings["quantizer"] == "fsq":
        return FiniteScalarQuantizer(settings["levels"])
    if settings["quantizer"] == "lfq":
        bits = round(math.log2(settings["codes"]))
        return LookupFreeQuantizer(bits, settings.get("spherical", False))
    if settings["quantizer"] == "residual":
        codes = round(settings["codes"] ** (1 / settings["stages"]))
        stage = VectorQuantizer(codes, scale["embedding_dim"])
        return ResidualQuantizer(stage, settings["stages"], shared_codebook=False)
    size = (settings["codes"], scale["embedding_dim"])
    if settings["quantizer"] in BY_CODES:
        names = ("normalize", "rotation_trick", "ema", "codebook_start", "dead_code_threshold")
        names += ("projection_dim", "mask_ratio", "prior_weight", "prior_target", "scale")
        options = {name: settings[name] for name in names if name in settings}
        return BY_CODES[settings["quantizer"]](*size, **options)
    logits = settings.get("logits", scale["logits"])
    if settings["quantizer"] == "gumbel":
        return GumbelQuantizer(*size, logits=logits, seed=seed)
    names = {"mask_ratio", "prior_scope", "prior_estimator", "prior_weight", "temperature"}
    options = {name: settings[name] for name in names & settings.keys()}
    if "codebook_deviation" in settings:
        deviation = settings["codebook_deviation"]
        options["codebook_initializer"] = keras.initializers.RandomNormal(0.0, deviation, seed)
    return RegularizedQuantizer(*size, logits=logits, seed=seed, **options)


def loss_network(name, seed):
    if name == "none":
        return None
    if name in ("efficientnet", "random"):
        weights = "imagenet" if name == "efficientnet" else None
        # The last map of a small picture is one position, where a contrast has no negatives.
        layers = ("block_0", "block_2", "block_4", "block_10")
        return EfficientNetLite0Features(weights, layers, seed=seed)
    return VGG19Features(name)


def set_network(name):
    """What the distances between sets of images are measured with."""
    return feature_networks("random" if name == "random" else "efficientnet")[1]


def train_tokenizer(settings, scale, features, seed, images):
    tokenizer = ImageTokenizer(
        scale["image_size"],
        build_quantizer(settings, scale, seed),
        base_channels=scale["base_channels"],
        channel_multipliers=scale["channel_multipliers"],
        num_res_blocks=scale["num_res_blocks"],
        attention_resolutions=(),
        middle_attention=scale["patch_size"] == 1,
        latent_channels=scale["latent_channels"],
        patch_size=scale["patch_size"],
    )
    trainer = TokenizerTrainer(
        tokenizer,
        PatchDiscriminator() if scale["adversary"] else None,
        loss_network(features, seed),
        perceptual_weight=scale["perceptual_weight"],
        contrastive_weight=scale["contrastive_weight"] * settings.get("contrastive_factor", 1),
        contrastive=settings["contrastive"] if features != "none" else None,
        seed=seed,
    )
    quantizer, factor = tokenizer.quantizer, settings.get("logits_factor", 1)
    if factor != 1 and quantizer.logits == "cosine":
        quantizer.scale *= factor
    elif factor != 1:
        quantizer.kernel.assign(quantizer.kernel * factor)
    steps = scale["steps"] * settings.get("steps_factor", 1)
    rate = keras.optimizers.schedules.CosineDecay(scale["learning_rate"], steps, 0.05)
    optimizer = {"muon": Muon, "adam": keras.optimizers.Adam}[scale["optimizer"]](rate)
    trainer.compile(optimizer)
    _fit(trainer, images, steps, scale["batch_size"], settings.get("at_last"))
    return tokenizer


def build_prior(kind, tokenizer, scale, seed):
    """A prior over the tokenizer's tokens: "autoregressive", or "diffusion" of tokens."""
    size, width = (tokenizer.codebook_size, tokenizer.token_grid), scale["prior_width"]
    if kind == "diffusion":
        return DiffusionPrior(*size, channels=width // 2, num_res_blocks=1, seed=seed)
    layers, heads = scale["prior_layers"], width // 64
    return AutoregressivePrior(
        *size, num_layers=layers, num_heads=heads, hidden_dim=width, seed=seed
    )


def measure_prior(kind, tokenizer, scale, settings, seed, train, test, network):
    """Train a prior on the tokens of images, for a fixed number of steps, and measure it.

    Returns:
        bits per held-out position (all its tokens), which go by the name "bits_per_token", and the
        samples' distances from held-out images; and the samples.
    """
    prior = build_prior(kind, tokenizer, scale, seed)
    prior.compile(keras.optimizers.AdamW(1e-3, weight_decay=0.01, global_clipnorm=1.0))
    steps = scale["prior_steps"] * settings.get("prior_steps_factor", 1)
    _fit(prior, {"tokens": tokenizer.encode(train)}, steps, scale["batch_size"])
    held_out = {"tokens": tokenizer.encode(test)}
    logs = prior.evaluate(held_out, batch_size=64, verbose=0, return_dict=True)
    tokens = prior.generate(num_samples=len(test), seed=seed, batch_size=64, verbose=0)
    samples = tokenizer.decode(tokens)
    numbers = {f"generation_{k}": v for k, v in distances(network, test, samples).items()}
    bits = float(logs["bits_per_token"]) * tokenizer.tokens_per_position
    numbers = {"bits_per_token": bits, **numbers}
    return {f"{kind}_{name}": value for name, value in numbers.items()}, samples


def _fit(model, data, steps, batch_size, at_last=None):
    """`steps` steps on arrays, in as many whole passes as these are.

    at_last: attributes that the model's quantizer gets for the last third of the passes.
    """
    count = len(next(iter(data.values())) if isinstance(data, dict) else data)
    epochs = max(1, round(steps * batch_size / count))
    first = epochs if at_last is None else epochs - max(1, epochs // 3)
    options = {"batch_size": batch_size, "verbose": 2, "callbacks": [NonFiniteLoss()]}
    model.fit(data, epochs=first, **options)
    if at_last is not None:
        quantizer = model.tokenizer.quantizer
        for name, value in at_last.items():
            if isinstance(getattr(quantizer, name), keras.Variable):
                getattr(quantizer, name).assign(value)
            else:
                setattr(quantizer, name, value)
        model.make_train_function(force=True)  # most are constants of the compiled step
        model.fit(data, initial_epoch=first, epochs=epochs, **options)


def run_cell(settings, scale, features, seed, train, test):
    """Train and measure one variant.

    Returns:
        a dict of floats, and a picture: test images, their reconstructions, each prior's samples.
    """
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    start, cpu_start = time.perf_counter(), time.process_time()
    tokenizer = train_tokenizer(settings, scale, features, seed, train)
    seconds = {
        "tokenizer_seconds": time.perf_counter() - start,
        "tokenizer_cpu_seconds": time.process_time() - cpu_start,
    }
    numbers, tokens = evaluate(tokenizer, test)
    network = set_network(features)
    decoded = tokenizer.decode(tokens)
    rebuilt = distances(network, test, decoded)
    priors = {}
    for kind in ("autoregressive", "diffusion"):
        measured, priors[kind] = measure_prior(
            kind, tokenizer, scale, settings, seed, train, test, network
        )
        numbers.update(measured)
    numbers = {
        **numbers,
        **{f"reconstruction_{name}": value for name, value in rebuilt.items()},
        **seconds,
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu_start,  # of a run that may have waited for others
    }
    return numbers, image_grid([images[:12] for images in (test, decoded, *priors.values())])
