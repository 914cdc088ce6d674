"""What XLA reads from the environment before JAX starts."""

import importlib.metadata
import os
import re

_FUSIONS = "xla_cpu_experimental_ynn_fusion_type"
_KNOWN = re.compile(r"0\.10\.")  # XLA ends a process that sets a flag which it does not know


def use_xlas_own_convolutions():
    """Where JAX computes on a CPU, leave convolutions to XLA itself and not to its library YNN.

    With jaxlib 0.10 YNN takes each convolution of float32. The gradient of a 3x3 kernel of 64 to
    128 channels then takes two to five times as long, and a tokenizer's whole training step 1.5
    times (two cores of an Intel Xeon with AVX-512; `python -m benchmarks.train_step`).

    It adds to XLA_FLAGS for a jaxlib that is known to have the flag, unless that has a value there.
    Call it before JAX first computes. It imports nothing; the backend is KERAS_BACKEND's.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if os.environ.get("KERAS_BACKEND") != "jax" or _FUSIONS in flags:
        return
    try:
        known = _KNOWN.match(importlib.metadata.version("jaxlib"))
    except importlib.metadata.PackageNotFoundError:
        return
    if known:
        os.environ["XLA_FLAGS"] = f"{flags} --{_FUSIONS}=-individual_convolution".strip()
