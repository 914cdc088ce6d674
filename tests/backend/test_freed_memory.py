"""What glibc is told of freed memory, in processes of their own."""

import os
import platform
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.one_backend,
    pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told"),
]

# Three arrays of 36 MB, which are 8,800 pages each. The least of eight steps: the first have to
# grow, as JAX frees a step's arrays only after it. The package first: keras starts a thread, whose
# arena of malloc stays beside the one that is kept.
CODE = """
import resource, keras_regvq, keras
from keras import ops
step = lambda x: ops.sum(ops.sort(ops.sort(x + 1, axis=0), axis=1))
if keras.backend.backend() == "jax":
    import jax
    step = jax.jit(step)
faults = []
for _ in range(8):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    float(step(ops.ones((3000, 3000))))
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(min(faults))
"""


# A fifth of a second of work: a call that does not wait for it gives an array that is not ready.
WAITING = """
import keras_regvq.models, jax
from keras import ops
print(jax.jit(lambda x: ops.sort(ops.sort(x, axis=0), axis=1))(ops.ones((1500, 1500))).is_ready())
"""


def printed_by(code, backend, **variables):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    environment.update(variables, KERAS_BACKEND=backend)
    words = [sys.executable, "-c", code]
    ended = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    return ended.stdout.strip()


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_memory_of_a_step_is_there_for_the_next_unless_the_user_has_said_something(backend):
    pytest.importorskip(backend)
    assert int(printed_by(CODE, backend)) < 500
    assert int(printed_by(CODE, backend, MALLOC_ARENA_MAX="4")) > 5000


def test_jax_computes_in_the_calling_thread_unless_the_user_has_said_something():
    pytest.importorskip("jax")
    assert printed_by(WAITING, "jax") == "True"
    assert printed_by(WAITING, "jax", MALLOC_ARENA_MAX="4") == "False"
