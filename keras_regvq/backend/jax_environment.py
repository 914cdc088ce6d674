"""What JAX and XLA read from the environment before they start."""

import ctypes
import importlib.metadata
import importlib.util
import os
import platform
import re
from pathlib import Path

_FUSIONS = "xla_cpu_experimental_ynn_fusion_type"
_CACHE_BYTES = 2**30
# glibc's malloc.h: M_MMAP_MAX, M_TRIM_THRESHOLD and M_ARENA_MAX.
_KEEP_FREED = {-4: 0, -1: 2**31 - 1, -8: 1}
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


def keep_freed_memory():
    """Where JAX computes on a CPU, keep the memory of a step for the next one.

    XLA allocates a step's arrays anew each time, and glibc gives freed ones back to the kernel,
    which then has to clear every page again: 300,000 page faults in a training step of 64 pixels.
    Without them it takes a tenth less time. Up to 2 GB of what was freed stays with the process,
    and its peak may be a third higher, as new arrays do not always fit where old ones were.

    Where the environment already says something of malloc, that holds. Only glibc is told, and only
    when KERAS_BACKEND is JAX: the other backends keep what they free.
    """
    said = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    if os.environ.get("KERAS_BACKEND") != "jax" or said or platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    for option, value in _KEEP_FREED.items():
        libc.mallopt(option, value)


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
