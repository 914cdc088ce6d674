"""What JAX and XLA read from the environment before they start."""

import importlib.metadata
import importlib.util
import os
import platform
import re
from pathlib import Path

_FUSIONS = "xla_cpu_experimental_ynn_fusion_type"
_CACHE_BYTES = 2**30
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


def keep_what_jax_compiles():
    """Have JAX keep what it compiles in the user's cache, for the next process of the same sizes.

    In ~/.cache/keras_regvq (or below XDG_CACHE_HOME), for this host alone, since the code is its
    processor's; the least used goes beyond 1 GB. What the user has set in JAX_COMPILATION_CACHE_DIR
    holds. Call it before JAX is imported.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(caches) / "keras_regvq" / f"jax_{platform.node() or 'host'}"
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    if importlib.util.find_spec("filelock"):  # without it JAX refuses a limit
        os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(_CACHE_BYTES))
