"""What a model's card says of the model itself: its kind, its sizes, and how it is used."""

import functools


def card_facts(model):
    """A dict as `keras_regvq.files.model_card.card_text` takes it, of a model with presets."""
    own = facts_of_kind(model)
    own["facts"] = {
        "Class": f"`{type(model).__name__}`",
        **own["facts"],
        "Parameters": f"{model.count_params():,}",
    }
    own["summary"] += (
        " A preset of the Python package keras_regvq, for Keras 3 on TensorFlow, JAX and PyTorch."
    )
    return own


@functools.singledispatch
def facts_of_kind(model):
    """The same for a class that is none of this package's kinds; `card_kinds` registers those."""
    return {
        "title": type(model).__name__,
        "summary": "A model.",
        "pipeline_tag": None,
        "tags": [],
        "usage": usage("model"),
        "facts": {},
    }


def usage(name, *lines):
    """The lines that load a model as `name` and use it; {preset} stands for the loading."""
    needed = "import keras_regvq\n"
    if any("np." in line for line in lines):
        needed = "import numpy as np\n\n" + needed
    return "\n".join([needed, f"{name} = keras_regvq.{{preset}}", *lines])
