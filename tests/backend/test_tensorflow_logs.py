import os
import subprocess
import sys

import pytest

from keras_regvq.backend.tensorflow_logs import without_early_lines

EARLY = """\
WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795892324.803238    6701 port.cc:153] oneDNN custom operations are on.
I0000 00:00:1795892331.649053    6718 cpu_feature_guard.cc:227] This TensorFlow binary is optimized.
To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow.
E0000 00:00:1795892329.199716    6701 cuda_platform.cc:52] failed call to cuInit
"""


def test_lines_below_the_level_are_left_out_and_all_others_kept():
    text = EARLY + "Someone's own line\n"
    assert without_early_lines(text, 3) == "Someone's own line\n"
    assert without_early_lines(text, 2).splitlines() == [
        EARLY.splitlines()[-1],
        "Someone's own line",
    ]
    assert without_early_lines(text, 0) == text


def run(level):
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    if level is not None:
        environment["TF_CPP_MIN_LOG_LEVEL"] = level
    code = (
        "from keras_regvq.backend.tensorflow_logs import quiet_tensorflow; quiet_tensorflow()\n"
        "import importlib.util; assert importlib.util.find_spec('tensorflow')  # as torch asks\n"
        "import tensorflow as tf; list(tf.data.Dataset.range(3).shuffle(3))\n"
        "import sys; print('mine', file=sys.stderr)"
    )
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stderr


@pytest.mark.seldom
def test_tensorflow_is_silent_unless_the_user_wants_its_lines():
    assert run(None) == "mine\n"
    assert "oneDNN" in run("0")


def test_where_another_backend_computes_the_library_keeps_tensorflow_quiet():
    """Where TensorFlow is the backend, or the user has set a level, the lines are the user's."""
    code = "import os, keras_regvq\nprint(os.environ.get('TF_CPP_MIN_LOG_LEVEL'))"
    for backend, level, expected in (
        ("jax", None, "3"),
        ("torch", "1", "1"),
        ("tensorflow", None, "None"),
    ):
        environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
        environment |= {"KERAS_BACKEND": backend} | (
            {"TF_CPP_MIN_LOG_LEVEL": level} if level else {}
        )
        said = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
        assert said.strip() == expected


def test_a_backend_that_is_not_installed_is_named():
    code = (
        "import sys; sys.modules['jax'] = None\n"
        "import keras_regvq; keras_regvq.from_preset('regvq_scenes_64')"
    )
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    tried = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert tried.returncode == 1
    assert 'pip install "keras_regvq[jax]", or set KERAS_BACKEND' in tried.stderr.splitlines()[-1]
