"""The processes that a diffusion prior has by name."""

import keras

from keras_regvq.checks.arguments import check_choice, refuse
from keras_regvq.checks.arrays import describe
from keras_regvq.models.priors.diffusion.discrete import DiscreteProcess
from keras_regvq.models.priors.diffusion.gaussian import GaussianProcess
from keras_regvq.models.priors.diffusion.process import Process

# A process, and which of the prior's settings are its arguments.
PROCESSES = {
    "discrete": (DiscreteProcess, ("num_timesteps", "replace_share", "variational_weight")),
    "gaussian": (GaussianProcess, ("embedding_dim",)),
}
_DEFAULTS = {
    "num_timesteps": 100,
    "replace_share": 0.1,
    "variational_weight": 0.01,
    "embedding_dim": None,
}


def get_process(process, settings, dtype):
    """The `Process` for a name or a process, and the prior's settings that go with it.

    Args:
        process: a name in `PROCESSES`, or a `Process`, which has its settings by itself.
        settings: dict of the prior's "num_timesteps", "replace_share", "variational_weight" and
            "embedding_dim".
        dtype: policy of a process that is given by its name.

    Returns:
        the Process; and all settings as the process has them, its kind as "process".

    Raises:
        ValueError: for an unknown process, or settings that are not for it.
    """
    if isinstance(process, Process):
        for name, value in settings.items():
            if value != _DEFAULTS[name]:
                refuse(name, value, f"{_DEFAULTS[name]}, with a process that has settings")
        return process, {**settings, **_own_settings(process), "process": process.kind}
    if not isinstance(process, str):
        refuse("process", describe(process), f"one of {', '.join(map(repr, PROCESSES))}, a Process")
    kind, names = PROCESSES[check_choice("process", process, tuple(PROCESSES))]
    if settings["embedding_dim"] is not None and "embedding_dim" not in names:
        refuse("embedding_dim", settings["embedding_dim"], f'None with process "{process}"')
    created = kind(**{n: settings[n] for n in names}, name="process", dtype=dtype)
    return created, {**settings, **_own_settings(created), "process": process}


def process_config(process):
    """What a prior's config holds of its process: the name, where name and settings say it all."""
    known, _ = PROCESSES.get(process.kind, (None, ()))
    return process.kind if type(process) is known else keras.saving.serialize_keras_object(process)


def _own_settings(process):
    """Those of the prior's settings that the process has, as it has them."""
    known, names = PROCESSES.get(process.kind, (None, ()))
    return {name: getattr(process, name) for name in names} if type(process) is known else {}
