"""How a prior's weights are laid out on several devices."""

import keras

from keras_regvq.checks.arguments import refuse

# Axis of each weight that is divided, by the end of its path (a regular expression). What is
# multiplied next is divided along the same axis, so that a block sums over the devices twice, after
# its attention and after its feed-forward layers, as in Shoeybi et al., "Megatron-LM" (2019).
_DIVIDED = {
    r"(embedding|positions)/(embeddings|rows|columns|stages)": (None, "model"),
    r"(self|cross)_attention/(query|key|value)/kernel": (None, "model", None),
    r"(self|cross)_attention/(query|key|value)/bias": ("model", None),
    r"(self|cross)_attention/attention_output/kernel": ("model", None, None),
    r"feedforward_intermediate_dense/kernel": (None, "model"),
    r"feedforward_intermediate_dense/bias": ("model",),
    r"feedforward_output_dense/kernel": ("model", None),
    r"unet/.*conv1/kernel": (None, None, None, "model"),
    r"unet/.*conv1/bias": ("model",),
    r"unet/.*conv2/kernel": (None, None, "model", None),
    r"head/kernel": ("model", None),
}
# A condition's own layers are small, and may have other sizes: each device has all of them.
_OUTSIDE_OF_CONDITION = r"(?!.*condition)(.*/)?"


def prior_layout_map(device_mesh, model_axis="model", batch_axis="batch"):
    """The `keras.distribution.LayoutMap` of an autoregressive or a diffusion prior.

    Args:
        device_mesh: `keras.distribution.DeviceMesh` with both axes.
        model_axis: along which weights are divided: attention heads, channels and hidden units,
            which it has to divide.
        batch_axis: along which examples are.

    Raises:
        ValueError: for what is no mesh, or has not these axes.
    """
    if not isinstance(device_mesh, keras.distribution.DeviceMesh):
        refuse("device_mesh", type(device_mesh).__name__, "a keras.distribution.DeviceMesh")
    for axis in (model_axis, batch_axis):
        if axis not in device_mesh.axis_names:
            refuse("device_mesh", f"axes {device_mesh.axis_names}", f"an axis {axis!r}")
    layout_map = keras.distribution.LayoutMap(device_mesh)
    for end, axes in _DIVIDED.items():
        layout = tuple(model_axis if axis == "model" else None for axis in axes)
        layout_map[_OUTSIDE_OF_CONDITION + end] = layout
    return layout_map
