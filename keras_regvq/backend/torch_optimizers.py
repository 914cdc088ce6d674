"""Optimizers' updates for all variables in a few calls; Keras makes some ten for each of them."""

import keras
import torch
from keras import ops


class Muon(keras.optimizers.Muon):
    """`keras.optimizers.Muon`, equal up to rounding."""

    @torch.no_grad()
    def _backend_update_step(self, gradients, variables, learning_rate):
        for_adam, for_muon = [], []
        for gradient, variable in zip(gradients, variables, strict=True):
            index = self._get_variable_index(variable)
            slots = self.momentums[index], self.adam_velocities[index]
            gradient = ops.convert_to_tensor(gradient, variable.dtype)
            if slots[1] is None:
                for_muon.append((variable.value, gradient, slots[0].value))
            else:
                for_adam.append((variable.value, gradient, *(slot.value for slot in slots)))
        if for_adam:
            self._adam_updates(*zip(*for_adam, strict=True), learning_rate * self.adam_lr_ratio)
        if for_muon:
            self._muon_updates(*zip(*for_muon, strict=True), learning_rate)

    def _adam_updates(self, values, gradients, momenta, velocities, rate):
        torch._foreach_lerp_(momenta, gradients, 1 - self.adam_beta_1)
        torch._foreach_mul_(velocities, self.adam_beta_2)
        torch._foreach_addcmul_(velocities, gradients, gradients, 1 - self.adam_beta_2)
        updates = ops.cast(self.iterations + 1, "float32")
        biases = [1 - ops.power(beta, updates) for beta in (self.adam_beta_1, self.adam_beta_2)]
        roots = torch._foreach_sqrt(velocities)
        torch._foreach_add_(roots, self.epsilon)
        steps = torch._foreach_div(momenta, roots)
        torch._foreach_mul_(steps, rate * ops.sqrt(biases[1]) / biases[0])
        torch._foreach_sub_(values, steps)

    def _muon_updates(self, values, gradients, momenta, rate):
        torch._foreach_mul_(momenta, self.momentum)
        torch._foreach_add_(momenta, gradients)
        directions = momenta
        if self.nesterov:
            directions = torch._foreach_add(gradients, momenta, alpha=self.momentum)
        steps = [
            self.lr_adjust(self.zeropower_via_newtonschulz5(direction, self.ns_steps))
            for direction in directions
        ]
        torch._foreach_mul_(steps, rate)
        torch._foreach_sub_(values, steps)


@torch.no_grad()
def update_averages(optimizer, variables):
    """As Keras updates the averages of an optimizer with `use_ema`: at first they are copies."""
    pairs = zip(optimizer._model_variables_moving_average, variables, strict=True)
    pairs = [(average.value, v.value) for average, v in pairs if average is not None]
    if not pairs:
        return
    averages, values = zip(*pairs, strict=True)
    updates = ops.convert_to_tensor(optimizer.iterations)
    momentum = optimizer.ema_momentum * (updates != 0)
    torch._foreach_mul_(averages, momentum)
    torch._foreach_add_(averages, torch._foreach_mul(values, 1 - momentum))
