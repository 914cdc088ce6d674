"""Annealing the quantizer's temperature."""

import keras
import numpy as np
from keras import ops

from keras_regvq.backend.fit_state import synchronize
from keras_regvq.checks.arguments import check_positive_integer, refuse
from keras_regvq.checks.arrays import describe
from keras_regvq.quantizers.sampling import SamplingQuantizer


class TemperatureSchedule(keras.callbacks.Callback):
    """Sets the temperature of a sampling quantizer by the number of training steps.

    Of a `ResidualQuantizer`, that of all its stages that have one.

    Args:
        schedule: a `keras.optimizers.schedules.LearningRateSchedule`, or a function, from the
            step (int) to the temperature, a number above 0.
        every: steps between settings.

    Example:
        ```python
        quantizer = keras_regvq.quantizers.GumbelQuantizer(codebook_size=256, embedding_dim=16)
        tokenizer = keras_regvq.from_preset("regvq_patch4_256", quantizer=quantizer)
        trainer = keras_regvq.training.TokenizerTrainer(tokenizer)
        trainer.compile("adam")
        annealing = keras_regvq.training.TemperatureSchedule(
            lambda step: max(1 / 16, 2.0 ** (-step / 5000))  # from 1 to 1/16 in 20,000 steps
        )
        trainer.fit(images, epochs=1, callbacks=[annealing])
        ```
    """

    def __init__(self, schedule, every=100):
        super().__init__()
        if not callable(schedule):
            refuse("schedule", describe(schedule), "a LearningRateSchedule or a function of a step")
        self.schedule = schedule
        self.every = check_positive_integer("every", every)

    def on_train_begin(self, logs=None):
        quantizer = getattr(self.model, "tokenizer", self.model).quantizer
        stages = getattr(quantizer, "stages", (quantizer,))
        self.quantizers = [stage for stage in stages if isinstance(stage, SamplingQuantizer)]
        if not self.quantizers:
            refuse(
                "schedule",
                f"a model with a {type(quantizer).__name__}",
                "one with a RegularizedQuantizer or GumbelQuantizer, which have a temperature",
            )

    def on_epoch_begin(self, epoch, logs=None):
        # The model's own counter: a resumed run goes on where it was.
        synchronize(self.model)
        optimizer = self.model.optimizer
        counter = getattr(self.model, "step", None)
        if counter is None:  # the optimizer's counts updates, each of so many batches
            counter = optimizer.iterations * (optimizer.gradient_accumulation_steps or 1)
        self.first = int(ops.convert_to_numpy(counter))

    def on_train_batch_begin(self, batch, logs=None):
        step = self.first + batch  # of `steps_per_execution` steps the first
        if batch == 0 or step // self.every != self.last // self.every:
            temperature = float(self.schedule(step))
            if not (np.isfinite(temperature) and temperature > 0):
                refuse("schedule", f"{temperature} at step {step}", "temperatures above 0")
            synchronize(self.model)
            for quantizer in self.quantizers:
                quantizer.temperature.assign(temperature)
        self.last = step
