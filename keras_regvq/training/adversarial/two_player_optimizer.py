"""Two optimizers that Keras sees as one."""

import keras

from keras_regvq.checks.arguments import refuse


@keras.saving.register_keras_serializable(package="keras_regvq")
class TwoPlayerOptimizer(keras.optimizers.Optimizer):
    """Gives the discriminator's gradients to one optimizer and all others to another.

    Being one optimizer, it is compiled, saved, restored and loss-scaled as one. Setting
    `learning_rate` sets both players'; it reads as the generator's.

    Args:
        generator_optimizer: a keras Optimizer.
        discriminator_optimizer: another instance.
        discriminator_variables: the variables that the second one updates.

    Raises:
        ValueError: for an optimizer that scales losses itself, and for two of different
            `loss_scale_factor`: both players' losses are summed, and scaled as one.

    Example:
        ```python
        tokenizer = keras_regvq.from_preset("regvq_patch4_256")
        discriminator = keras_regvq.models.PatchDiscriminator(base_channels=16)
        optimizer = keras_regvq.training.TwoPlayerOptimizer(
            keras.optimizers.Adam(1e-3),
            keras.optimizers.Adam(1e-4),
            discriminator.trainable_variables,
        )
        optimizer.build(tokenizer.trainable_variables + discriminator.trainable_variables)
        optimizer.learning_rate = 5e-4  # both players'
        ```
    """

    def __init__(
        self, generator_optimizer, discriminator_optimizer, discriminator_variables=(), name=None
    ):
        check_no_loss_scaling("generator_optimizer", generator_optimizer)
        check_no_loss_scaling("discriminator_optimizer", discriminator_optimizer)
        factor = generator_optimizer.loss_scale_factor
        if discriminator_optimizer.loss_scale_factor != factor:
            received = f"one of loss_scale_factor={discriminator_optimizer.loss_scale_factor}"
            refuse("discriminator_optimizer", received, f"the generator's factor, {factor}")
        super().__init__(learning_rate=0.0, name=name)
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self._discriminator_ids = {id(variable) for variable in discriminator_variables}

    @property
    def optimizers(self):
        """Both players' optimizers: Keras's callbacks look for this name."""
        return [self.generator_optimizer, self.discriminator_optimizer]

    def _split(self, variables, values):
        """Sort `values` into the generator's and the discriminator's by their variables."""
        of_discriminator = [id(variable) in self._discriminator_ids for variable in variables]
        pairs = list(zip(of_discriminator, values, strict=True))
        return [[value for player, value in pairs if player is wanted] for wanted in (False, True)]

    def build(self, variables):
        super().build(variables)
        for optimizer, own in zip(self.optimizers, self._split(variables, variables), strict=True):
            if own:
                optimizer.build(own)

    @property
    def variables(self):
        return [*self._variables, *(v for player in self.optimizers for v in player.variables)]

    def apply(self, grads, trainable_variables=None):
        variables = list(trainable_variables or self._trainable_variables)
        if not self.built:
            self.build(variables)
        grads_of, variables_of = self._split(variables, grads), self._split(variables, variables)
        for optimizer, own_grads, own in zip(self.optimizers, grads_of, variables_of, strict=True):
            if own:
                optimizer.apply(own_grads, own)
        self._iterations.assign_add(1)

    def finalize_variable_values(self, var_list):
        for optimizer, own in zip(self.optimizers, self._split(var_list, var_list), strict=True):
            if own:
                optimizer.finalize_variable_values(own)

    @property
    def learning_rate(self):
        return self.generator_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value):
        for optimizer in self.optimizers:
            optimizer.learning_rate = value

    @property
    def loss_scale_factor(self):
        return self.generator_optimizer.loss_scale_factor  # each player divides by its own

    @loss_scale_factor.setter
    def loss_scale_factor(self, value):
        if hasattr(self, "generator_optimizer"):  # which it is not yet in Keras's constructor
            for optimizer in self.optimizers:
                optimizer.loss_scale_factor = value

    def set_weights(self, weights):
        for variable, value in zip(self.variables, weights, strict=True):
            variable.assign(value)

    def get_config(self):
        serialize = keras.optimizers.serialize
        return {
            "name": self.name,
            "generator_optimizer": serialize(self.generator_optimizer),
            "discriminator_optimizer": serialize(self.discriminator_optimizer),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        players = ("generator_optimizer", "discriminator_optimizer")
        optimizers = {
            name: keras.optimizers.deserialize(config[name], custom_objects) for name in players
        }
        return cls(**{**config, **optimizers})


def check_no_loss_scaling(argument, optimizer):
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        expected = "the optimizer inside it: loss scaling is added under mixed_float16"
        refuse(argument, "a LossScaleOptimizer", expected)
