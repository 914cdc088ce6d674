"""All layers of a model, those inside others among them, and freezing them."""


def all_layers(model, include_self=True):
    """The layers of a model, in the order that Keras saves them in; the model itself is the first.

    Keras has no public name for it: this is the one place that uses its private one.
    """
    return model._flatten_layers(include_self=include_self)


def freeze(layer):
    """Freeze a layer to its weights, also where it says that it is frozen.

    Weights that a frozen layer made are not, as those of a model from a config; and on TensorFlow
    an attribute that is set to the value that it has changes nothing.
    """
    layer.trainable = True
    layer.trainable = False
