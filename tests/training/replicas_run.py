"""Trains small models on two replicas, or on one, and writes what came of it.

    python tests/training/replicas_run.py OUTPUT CASE ...

TensorFlow and JAX divide their CPU in two; PyTorch, and JAX where it is told of two processes, have
to be started twice.
"""

import os
import sys

import numpy as np

STEPS, BATCH = 3, 8


def make_features():
    """Two convolutions in place of VGG-19's sixteen."""
    import keras

    from keras_regvq.models import FeatureExtractor

    inputs = keras.Input((None, None, 3))
    low = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="low")(inputs)
    high = keras.layers.Conv2D(6, 3, 2, padding="same", activation="relu", name="high")(low)
    return FeatureExtractor(keras.Model(inputs, [low, high]), ["low", "high"])


def tokenizer_trainer(quantizer, **options):
    from keras_regvq import models, training

    tokenizer = models.ImageTokenizer(8, quantizer, 8, (1,), 1, (), 4)
    images = np.random.default_rng(0).random((STEPS * BATCH, 8, 8, 3), "float32")
    return training.TokenizerTrainer(tokenizer, **options), images


def vq_of_averages_with_discriminator():
    """k-means starts, and codes are replaced, with features of both replicas."""
    import keras

    from keras_regvq import models, quantizers

    quantizer = quantizers.VectorQuantizer(
        12, 4, ema=0.8, codebook_start="kmeans", dead_code_threshold=20.0, projection_dim=3, seed=1
    )
    discriminator = models.PatchDiscriminator(8, 1)
    model, images = tokenizer_trainer(quantizer, discriminator=discriminator, discriminator_ramp=1)
    return model, images, keras.optimizers.SGD(0.05)


def regvq_with_discriminator_and_features():
    import keras

    from keras_regvq import models, quantizers

    model, images = tokenizer_trainer(
        quantizers.RegularizedQuantizer(12, 4, mask_ratio=0.0, prior_weight=0.5),
        discriminator=models.PatchDiscriminator(8, 1),
        feature_extractor=make_features(),
        contrastive="plain",
        contrastive_positions=16,
        seed=1,
    )
    return model, images, keras.optimizers.AdamW(1e-3, global_clipnorm=0.05)


def prior():
    import keras

    from keras_regvq import models

    tokens = np.random.default_rng(1).integers(0, 8, (STEPS * BATCH, 2, 2))
    model = models.AutoregressivePrior(8, 2, 1, 1, 8)
    return model, {"tokens": tokens}, keras.optimizers.AdamW(1e-3, global_clipnorm=0.05)


def label_maps():
    """Codes of a trained codebook that are sampled at first, and replaced from the first step."""
    import keras

    from keras_regvq import models, quantizers

    maps = np.random.default_rng(2).integers(0, 3, (STEPS * BATCH, 8, 8))
    quantizer = quantizers.VectorQuantizer(
        8, 4, codebook_start="sampled", dead_code_threshold=60.0, seed=2
    )
    return models.LabelMapTokenizer(3, 8, quantizer, 4, (1,), 1, 4), maps, keras.optimizers.SGD(0.1)


CASES = {
    function.__name__: function
    for function in (
        vq_of_averages_with_discriminator,
        regvq_with_discriminator_and_features,
        prior,
        label_maps,
    )
}


def train(case, eager=None):
    """Six steps: {"before" and "after": a vector of all that learns, log name: values by epoch}."""
    import keras

    keras.utils.set_random_seed(5)
    model, data, optimizer = CASES[case]()
    model.compile(optimizer=optimizer, run_eagerly=eager)
    found = {"before": weights(model)}
    history = model.fit(
        data, batch_size=BATCH, epochs=2, shuffle=False, verbose=0,
        validation_data=(data,), validation_batch_size=BATCH,
    ).history  # fmt: skip
    return {**found, **history, "after": weights(model)}


def weights(model):
    import keras

    tokenizer = getattr(model, "tokenizer", model)
    state = getattr(getattr(tokenizer, "quantizer", None), "weights", [])
    # Sums are codes times counts, with rounding errors of that size. TensorFlow reads no mirrored
    # variable that is a scalar.
    state = [v for v in state if v.name != "sums" and v.shape != ()]
    variables = {id(v): v for v in (*model.trainable_variables, *state)}
    values = [keras.ops.convert_to_numpy(v.value).ravel() for v in variables.values()]
    return np.concatenate(values)


def two_devices():
    """Give TensorFlow or JAX two devices; before anything else of it is used."""
    if os.environ["KERAS_BACKEND"] == "tensorflow":
        import tensorflow as tf

        (cpu,) = tf.config.list_physical_devices("CPU")
        half = tf.config.LogicalDeviceConfiguration()
        tf.config.set_logical_device_configuration(cpu, [half, half])
    if os.environ["KERAS_BACKEND"] == "jax":
        import jax

        if "KERAS_DISTRIBUTION_JOB_ADDRESSES" not in os.environ:
            jax.config.update("jax_num_cpu_devices", 2)


def main(output, *cases):
    two_devices()

    from keras_regvq.backend.processes import is_first_process
    from keras_regvq.training import data_parallel

    with data_parallel() as replicas:
        assert replicas == 2
        for case in cases:
            found = train(case)
            if is_first_process():
                np.savez(f"{output}/{case}.npz", **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
