"""The devices and processes that a recipe trains on."""

import contextlib
import os
import sys


def add_distribute_option(add):
    """The option --distribute; `add(name, default, help, ...)`."""
    add("--distribute", "auto", "train on all devices and processes that there are, or on one",
        choices=("auto", "none"))  # fmt: skip


def for_all(examples, replicas):
    """The first examples of arrays, or of a dict of them: as many as the replicas can divide."""
    if isinstance(examples, dict):
        return {name: for_all(values, replicas) for name, values in examples.items()}
    return examples[: len(examples) // replicas * replicas]


@contextlib.contextmanager
def on_devices(choice):
    """Around all of a training, from the model's construction to its report.

    Of several processes all do the same, but the first one alone writes files and says how it goes.

    Yields:
        how many replicas a batch is divided among.
    """
    from keras_regvq.backend.processes import is_first_process
    from keras_regvq.training import data_parallel

    with data_parallel(choice) as replicas, contextlib.ExitStack() as stack:
        if not is_first_process():
            nothing = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(contextlib.redirect_stdout(nothing))
        if replicas > 1:
            print(f"Each batch is divided among {replicas} replicas.", flush=True)
        try:
            yield replicas
        except SystemExit as end:  # one process says why
            if not is_first_process():
                sys.exit(end.code if isinstance(end.code, int) else 1)
            raise
