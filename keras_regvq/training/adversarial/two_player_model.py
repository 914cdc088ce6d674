"""A model and its discriminator in one `keras.Model`, each with an optimizer of its own."""

import keras

from keras_regvq.checks.arguments import refuse
from keras_regvq.checks.arrays import describe
from keras_regvq.training.adversarial.two_player_optimizer import (
    TwoPlayerOptimizer,
    check_no_loss_scaling,
)


class TwoPlayerModel(keras.Model):
    """Base class: `compile` takes both players' optimizers, `load_model` compiles with them again.

    The second player is the attribute `discriminator`, a layer or None; all other weights are the
    generator's.
    """

    def compile(self, optimizer="adam", discriminator_optimizer=None, **kwargs):
        """Configure training.

        Args:
            optimizer: the generator's, a keras Optimizer or its name. Weight averaging is its
                `use_ema=True`, gradient accumulation its `gradient_accumulation_steps`.
            discriminator_optimizer: the discriminator's; default a copy of `optimizer`.
            **kwargs: of `keras.Model.compile` (jit_compile, run_eagerly, steps_per_execution,
                auto_scale_loss).
        """
        optimizer = keras.optimizers.get(optimizer)
        check_no_loss_scaling("optimizer", optimizer)
        if self.discriminator is not None:
            if discriminator_optimizer is None:
                discriminator_optimizer = type(optimizer).from_config(optimizer.get_config())
            if discriminator_optimizer is optimizer:
                refuse("discriminator_optimizer", "the generator's", "one of its own, or None")
            optimizer = TwoPlayerOptimizer(
                optimizer,
                keras.optimizers.get(discriminator_optimizer),
                self.discriminator.trainable_variables,
            )
        elif discriminator_optimizer is not None:
            refuse(
                "discriminator_optimizer",
                describe(discriminator_optimizer),
                "None, since there is no discriminator",
            )
        super().compile(optimizer=optimizer, **kwargs)

    def get_compile_config(self):
        """What `keras.saving.load_model` compiles again: the players' optimizers apart."""
        config = super().get_compile_config() or {}
        optimizer = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        serialize = keras.saving.serialize_keras_object
        if isinstance(optimizer, TwoPlayerOptimizer):
            config["optimizer"] = serialize(optimizer.generator_optimizer)
            config["discriminator_optimizer"] = serialize(optimizer.discriminator_optimizer)
        elif optimizer is not None:
            config["optimizer"] = serialize(optimizer)
        return config

    def compile_from_config(self, config):
        """Compile with both players' optimizers, ready to have their state loaded."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)
