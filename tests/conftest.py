"""Every test runs on the backend that KERAS_BACKEND names.

What no backend computes (files, data, messages) and what is long and made of parts that have tests
of their own (guides, recipes) need not be tested three times. In a run of the whole suite each test
of a file of `ONE_BACKEND`, and each test marked `one_backend`, runs on one backend, and within
thirty-two days on each; `--all` runs all of them everywhere, and so does a run that names files.

PyTorch compiles nothing. What takes TensorFlow and JAX long for that reason and is about models and
their training, not the maths of losses and quantizers (`LONG_TO_COMPILE`), runs on PyTorch each day
and on each of the others on one day of four.

A test marked `seldom` takes five seconds and more where its backend compiles, and most of what it
would find is found by a shorter one. It runs on one day of three, where it runs at all.

TensorFlow needs longer to compile a training step than a test needs to take a few of them. Where a
test is about what surrounds the step (data, callbacks, backups, messages), it or its file is marked
`eager`: there `fit` and `evaluate` take their steps uncompiled on TensorFlow, unless `compile` is
told otherwise. JAX compiles them all the same: it keeps what it compiled for the next model of the
same sizes, and takes longer to compile the operations one by one. Encoding, decoding and sampling
are compiled everywhere. A test of the compiled step in an eager file is marked `compiled`.
"""

import gc
import os
import zlib

import numpy as np
import pytest

# Days of a cycle. The same test takes two to five times longer where it has to be compiled.
TURNS = ("tensorflow", *["torch"] * 15, "jax", *["torch"] * 15)
# What computes next to nothing takes as long anywhere, and so do exports: torch.onnx is slow.
NO_FASTER_ON_TORCH_TURNS = ("tensorflow", "jax", "torch", "jax", *["tensorflow", "jax"] * 2) * 4
LONG_TO_COMPILE_TURNS = ("tensorflow", None, "jax", None)
NO_FASTER_ON_TORCH = (
    "test_onnx_files",
    "tests/data/",
    "tests/docs/",
    "tests/files/",
    "tests/models/tokenizers/test_export.py",
    "tests/test_distribution.py",
    "tests/test_package.py",
)
ONE_BACKEND = (
    "tests/backend/test_tensorflow_logs.py",
    "tests/benchmarks/",
    "tests/checks/",
    "tests/data/",
    "tests/demo/",
    "tests/docs/",
    "tests/files/",
    "tests/guides/",
    "tests/models/features/",
    "tests/models/generators/",
    "tests/models/test_global_settings.py",
    "tests/models/text_encoders/",
    "tests/models/tokenizers/test_export.py",
    "tests/models/tokenizers/test_other_quantizers.py",
    "tests/models/tokenizers/test_image_channels.py",
    "tests/presets/",
    "tests/recipes/",
    "tests/test_configs_round_trip.py",
    "tests/test_distribution.py",
    "tests/test_main.py",
    "tests/test_package.py",
    "tests/test_pictures.py",
    "tests/test_private_names.py",
    "tests/test_readme.py",
    "tests/tokenizing/",
    "tests/training/test_backup.py",
    "tests/training/test_callbacks.py",
    "tests/training/test_interruption.py",
    "tests/training/test_non_finite_loss.py",
    "tests/training/test_resuming.py",
)

# Two thirds of what TensorFlow and JAX take for the tests of all three backends.
LONG_TO_COMPILE = (
    "tests/backend/test_averaged_weights.py",
    "tests/models/priors/",
    "tests/models/tokenizers/test_image_tokenizer.py",
    "tests/models/tokenizers/test_label_map_tokenizer.py",
    "tests/models/tokenizers/test_patches.py",
    "tests/models/tokenizers/test_uint8_calls.py",
    "tests/models/tokenizers/test_unit_range.py",
    "tests/training/test_data_parallel.py",
    "tests/training/test_fit_inputs.py",
    "tests/training/test_optimizers_and_precision.py",
    "tests/training/test_tokenizer_trainer.py",
)

# Of these files one fixture takes all the time: their tests take turns together.
AS_A_WHOLE = (
    "tests/docs/test_site.py",
    "tests/guides/",
    "tests/models/features/test_fid_inception.py",
)

# Files of a minute or more where the backend compiles: the first to be handed to the workers of
# `--dist loadfile`, so that none is left to one worker while the other has nothing to do.
LONGEST = (
    "tests/recipes/test_run_folder.py",
    "tests/recipes/test_semantic_recipes.py",
    "tests/presets/test_preset_saving.py",
    "tests/training/test_backup.py",
    "tests/models/priors/diffusion/test_prior.py",
    "tests/models/generators/test_text_to_image.py",
    "tests/recipes/test_recipes.py",
    "tests/recipes/test_text_recipes.py",
    "tests/training/test_data_parallel.py",
    "tests/models/priors/diffusion/test_sampling.py",
    "tests/checks/test_fit_data.py",
    "tests/test_readme.py",
)


def pytest_configure(config):
    config.addinivalue_line("markers", "one_backend: takes turns on the backends")
    config.addinivalue_line("markers", "seldom: long, on one day of three")
    config.addinivalue_line("markers", "eager: on TensorFlow, no compiled training step")
    config.addinivalue_line("markers", "compiled: compiles the step, though its file is eager")
    # Its workers wait for the process that hands out tests, so it imports no backend.
    if not config.getoption("numprocesses", None) or hasattr(config, "workerinput"):
        set_up_backend(quick=not config.getoption("--all"))


def set_up_backend(quick):
    from keras_regvq.backend.tensorflow_logs import quiet_tensorflow

    quiet_tensorflow()
    import keras

    keras.config.disable_traceback_filtering()
    if keras.backend.backend() == "tensorflow" and quick:
        # Graphs that run a few times are not worth what TensorFlow takes to simplify them.
        import tensorflow as tf

        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="all tests on every backend")


def pytest_collection_modifyitems(config, items):
    places = {file: place for place, file in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.split("::")[0], len(LONGEST)))
    if config.getoption("--all") or config.args_source != pytest.Config.ArgsSource.TESTPATHS:
        return
    chosen = [runs_today(item) for item in items]
    config.hook.pytest_deselected(
        items=[i for i, now in zip(items, chosen, strict=True) if not now]
    )
    items[:] = [item for item, now in zip(items, chosen, strict=True) if now]


def pytest_collection_finish():
    # What the imports have made stays: to look through it takes half a second each time, and Keras
    # asks for it whenever a layer loses a weight.
    gc.collect()
    gc.freeze()


def runs_today(item):
    """Whether it runs here today: by its name alone, for backends may collect different tests."""
    # The same day for all workers and all three backends: `run.sh` sets it.
    day = int(os.environ.get("TEST_DAY", "0"))
    name = item.nodeid
    number = zlib.crc32((name.split("::")[0] if name.startswith(AS_A_WHOLE) else name).encode())
    if item.get_closest_marker("seldom") and (number // len(TURNS) + day) % 3:
        return False
    if name.startswith(ONE_BACKEND) or item.get_closest_marker("one_backend"):
        elsewhere = any(part in name for part in NO_FASTER_ON_TORCH)
        turns = NO_FASTER_ON_TORCH_TURNS if elsewhere else TURNS
    elif name.startswith(LONG_TO_COMPILE) and keras_backend() != "torch":
        turns = LONG_TO_COMPILE_TURNS
    else:
        return True
    return turns[(number + day) % len(turns)] == keras_backend()


@pytest.hookimpl(tryfirst=True)  # before the module's fixtures, which compile models too
def pytest_runtest_setup(item):
    from tests import eager_steps

    eager = item.get_closest_marker("eager") and not item.get_closest_marker("compiled")
    eager_steps.use(eager and keras_backend() == "tensorflow")


def keras_backend():
    import keras

    return keras.backend.backend()


@pytest.fixture(autouse=True)
def fixed_seed():
    import keras

    keras.utils.set_random_seed(7)


@pytest.fixture
def rng():
    return np.random.default_rng(7)
