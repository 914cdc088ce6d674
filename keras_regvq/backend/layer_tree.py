"""All layers of a model, those inside others among them."""


def all_layers(model, include_self=True):
    """The layers of a model, in the order that Keras saves them in; the model itself is the first.

    Keras has no public name for it: this is the one place that uses its private one.
    """
    return model._flatten_layers(include_self=include_self)
