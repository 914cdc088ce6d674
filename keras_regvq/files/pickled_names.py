"""Which names a checkpoint may have besides tensors and containers: shells are made of them."""

import sys
from pickle import UnpicklingError

# Their objects are settings and counters of a training run.
_SHELLS = {
    "accelerate", "addict", "argparse", "attr", "attrs", "box", "datetime", "decimal", "diffusers",
    "easydict", "enum", "fractions", "hydra", "lightning", "lightning_fabric",
    "lightning_utilities", "ml_collections", "munch", "omegaconf", "pathlib", "pytorch_lightning",
    "torchmetrics", "transformers", "types.SimpleNamespace", "typing", "uuid", "yacs",
    "collections.deque", "collections.Counter", "numpy.random", "torch.device", "torch.optim",
    "torch.Generator", "torch.torch_version",
    *(f"builtins.{name}" for name in "bool bytes complex float int object range slice str".split()),
}  # fmt: skip
# Of these, names that are not in a list are functions to be called, or not of a checkpoint.
_NO_SHELLS = {*sys.stdlib_module_names, "numpy", "keras", "keras_regvq", "tensorflow", "jax"}
PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}


class Shell:
    """Stands for an object that is not needed."""

    __slots__ = ("name",)

    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return f"<{self.name!s:.80}, left aside>"


def check_shell(name, called, known):
    """Refuse a name that stands for more than an object of settings.

    A class, by its capital letter, may be called: so are members of enumerations pickled.

    Args:
        name: the Name.
        called: whether it stands for a call of it.
        known: the Names that are known otherwise, and may stand uncalled.

    Raises:
        UnpicklingError: naming it.
    """
    module = PYTHON_2.get(name.module, name.module)
    parts = f"{module}.{name.name}".split(".")
    if any(".".join(parts[:length]) in _SHELLS for length in range(1, len(parts) + 1)):
        return
    if module == "builtins" and name.name in ("dict", "list", "set", "frozenset", "tuple"):
        return
    if not called and (name in known or parts[0] == "numpy"):
        return
    if parts[0] in _NO_SHELLS or called and not parts[-1][:1].isupper():
        raise UnpicklingError(f"it names {module}.{name.name}, which is no tensor")
