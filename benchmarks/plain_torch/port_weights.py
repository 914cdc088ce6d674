"""Names of the same weights here and in `keras_regvq`, and copying them from one to the other.

Each `*_names` function pairs a PyTorch parameter's name with the Keras variable that means the
same. Convolution kernels are (out, in, H, W) here and (H, W, in, out) in Keras.
"""

import torch

from benchmarks.plain_torch.vgg_and_patchgan import CONVOLUTIONS_PER_STAGE


def copy_weights(module, variables):
    """Give Keras variables the values of a module's parameters.

    Args:
        module: a `VQGAN`, `PatchDiscriminator` or `VGG19Features` of this package.
        variables: {parameter name: Keras variable}, as the functions below return it.

    Raises:
        ValueError: if a parameter of the module has no variable, or the other way round.
    """
    parameters = dict(module.named_parameters())
    if parameters.keys() != variables.keys():
        unpaired = sorted(parameters.keys() ^ variables.keys())
        raise ValueError(f"Parameters and variables must pair up; these do not: {unpaired}")
    for name, variable in variables.items():
        variable.assign(in_keras_layout(parameters[name], variable.shape))


def gradients_in_keras_layout(module, variables):
    """{parameter name: the module's current gradient as an array of the Keras variable's shape}."""
    parameters = dict(module.named_parameters())
    return {
        name: in_keras_layout(parameters[name].grad, variable.shape)
        for name, variable in variables.items()
    }


def in_keras_layout(tensor, shape):
    """A parameter, or its gradient, as a NumPy array of the Keras variable's shape."""
    tensor = tensor.detach().cpu()
    if tensor.ndim == 4:
        tensor = tensor.permute(2, 3, 1, 0)
        if len(shape) == 2:  # the projection to logits is a 1x1 convolution there, a matrix here
            tensor = tensor[0, 0]
    if tuple(tensor.shape) != tuple(shape):
        raise ValueError(f"A parameter is {tuple(tensor.shape)} in Keras's layout, not {shape}")
    return tensor.contiguous().numpy()


def tokenizer_names(model, tokenizer):
    """Pair the parameters of a `VQGAN` with the variables of an `ImageTokenizer`."""
    encoder, decoder = tokenizer.encoder.get_layer, tokenizer.decoder.get_layer
    names = {
        **_convolution("encoder.conv_in", encoder("conv_in")),
        **_middle("encoder.mid", encoder),
        **_norm("encoder.norm_out", encoder("norm_out")),
        **_convolution("encoder.conv_out", encoder("conv_out")),
        **_convolution("quant_conv", encoder("quant_conv")),
        **_convolution("post_quant_conv", decoder("post_quant_conv")),
        **_convolution("decoder.conv_in", decoder("conv_in")),
        **_middle("decoder.mid", decoder),
        **_norm("decoder.norm_out", decoder("norm_out")),
        **_convolution("decoder.conv_out", decoder("conv_out")),
        **_quantizer(model.quantize, tokenizer.quantizer),
    }
    for i, level in enumerate(model.encoder.down):
        names.update(_level(f"encoder.down.{i}", level, f"down_{i}", encoder))
        if list(level.downsample.parameters()):
            names.update(
                _convolution(f"encoder.down.{i}.downsample.conv", encoder(f"down_{i}_downsample"))
            )
    for i, level in enumerate(model.decoder.up):
        names.update(_level(f"decoder.up.{i}", level, f"up_{i}", decoder))
        if list(level.upsample.parameters()):
            names.update(
                _convolution(f"decoder.up.{i}.upsample.conv", decoder(f"up_{i}_upsample").conv)
            )
    return names


def patch_autoencoder_names(tokenizer):
    """Pair the parameters of a `PatchAutoencoder` with the variables of an `ImageTokenizer`.

    It has a `patch_size`, one level, no attention and no residual blocks beside those that are
    always there. The quantizer's are left out. The last convolution's outputs are ordered
    otherwise: see `patch_order`.
    """
    encoder, decoder = tokenizer.encoder.get_layer, tokenizer.decoder.get_layer
    blocks = {"encoder": ["mid_block_1", "mid_block_2"]}
    blocks["decoder"] = [*blocks["encoder"], "up_0_block_0"]
    names = {
        **_convolution("encoder.quant_conv", encoder("quant_conv")),
        **_convolution("decoder.post_quant_conv", decoder("post_quant_conv")),
    }
    for part, layer in (("encoder", encoder), ("decoder", decoder)):
        names.update(_convolution(f"{part}.conv_in", layer("conv_in")))
        names.update(_norm(f"{part}.norm_out", layer("norm_out")))
        names.update(_convolution(f"{part}.conv_out", layer("conv_out")))
        for number, block in enumerate(blocks[part]):
            names.update(_residual_block(f"{part}.blocks.{number}", layer(block)))
    return names


def patch_order(parameter, patch):
    """A parameter of the last convolution, with outputs ordered (row, column, colour) as in Keras.

    PyTorch's pixel shuffle has them ordered (colour, row, column).
    """
    colours = parameter.reshape(-1, patch * patch, *parameter.shape[1:])
    return colours.transpose(0, 1).reshape(parameter.shape)


def discriminator_names(discriminator, keras_discriminator):
    """Pair the parameters of both `PatchDiscriminator`s."""
    layer = keras_discriminator.get_layer
    convolutions = [
        index
        for index, block in enumerate(discriminator.main)
        if isinstance(block, torch.nn.Conv2d)
    ]
    names = {}
    for number, index in enumerate(convolutions[:-1]):
        names.update(_convolution(f"main.{index}", layer(f"conv_{number}")))
        if number > 0:
            names.update(_norm(f"main.{index + 1}", layer(f"norm_{number}")))
    names.update(_convolution(f"main.{convolutions[-1]}", layer("conv_out")))
    return names


def vgg19_names(features, keras_features):
    """Pair the parameters of both `VGG19Features`, up to relu5_3."""
    layers = [
        f"block{stage}_conv{number}"
        for stage, count in enumerate(CONVOLUTIONS_PER_STAGE, 1)
        for number in range(1, count + 1)
    ]
    convolutions = [
        index for index, block in enumerate(features.features) if isinstance(block, torch.nn.Conv2d)
    ]
    names = {}
    for index, layer in zip(convolutions, layers, strict=False):  # block5_conv4 is behind relu5_3
        names.update(_convolution(f"features.{index}", keras_features.network.get_layer(layer)))
    return names


def _convolution(prefix, layer):
    names = {f"{prefix}.weight": layer.kernel}
    if layer.use_bias:
        names[f"{prefix}.bias"] = layer.bias
    return names


def _norm(prefix, layer):
    return {f"{prefix}.weight": layer.gamma, f"{prefix}.bias": layer.beta}


def _residual_block(prefix, layer):
    names = {
        **_norm(f"{prefix}.norm1", layer.norm1),
        **_convolution(f"{prefix}.conv1", layer.conv1),
        **_norm(f"{prefix}.norm2", layer.norm2),
        **_convolution(f"{prefix}.conv2", layer.conv2),
    }
    if layer.shortcut is not None:
        names.update(_convolution(f"{prefix}.nin_shortcut", layer.shortcut))
    return names


def _attention_block(prefix, layer):
    return {
        **_norm(f"{prefix}.norm", layer.norm),
        **_convolution(f"{prefix}.q", layer.query),
        **_convolution(f"{prefix}.k", layer.key),
        **_convolution(f"{prefix}.v", layer.value),
        **_convolution(f"{prefix}.proj_out", layer.projection),
    }


def _middle(prefix, layer):
    return {
        **_residual_block(f"{prefix}.block_1", layer("mid_block_1")),
        **_attention_block(f"{prefix}.attn_1", layer("mid_attention_1")),
        **_residual_block(f"{prefix}.block_2", layer("mid_block_2")),
    }


def _level(prefix, level, keras_prefix, layer):
    names = {}
    for j in range(len(level.block)):
        names.update(_residual_block(f"{prefix}.block.{j}", layer(f"{keras_prefix}_block_{j}")))
    for j in range(len(level.attn)):
        names.update(_attention_block(f"{prefix}.attn.{j}", layer(f"{keras_prefix}_attention_{j}")))
    return names


def _quantizer(quantize, quantizer):
    if hasattr(quantize, "embedding"):  # nearest neighbour
        return {"quantize.embedding.weight": quantizer.codebook}
    return {
        "quantize.proj.weight": quantizer.kernel,
        "quantize.proj.bias": quantizer.bias,
        "quantize.embed.weight": quantizer.codebook,
    }
