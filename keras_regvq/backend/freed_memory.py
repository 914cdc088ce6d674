"""What becomes of the memory of a step on a CPU when the step is over."""

import ctypes
import os
import platform

# glibc's malloc.h: M_MMAP_MAX, M_TRIM_THRESHOLD and M_ARENA_MAX.
_KEEP_FREED = {-4: 0, -1: 2**31 - 1, -8: 1}


def keep_freed_memory():
    """Where JAX or PyTorch computes on a CPU, keep the memory of a step for the next one.

    They allocate a step's arrays anew each time, and glibc gives freed ones back to the kernel,
    which then has to clear every page again: with XLA 300,000 page faults in a training step of 64
    pixels, with PyTorch 25,000 in one, and as many in a sampling step. Without them either takes a
    tenth less time. Up to 2 GB of what was freed stays with the process; with JAX its peak may be a
    third higher, as new arrays do not always fit where old ones were.

    Where the environment already says something of malloc, that holds. Only glibc is told, and
    TensorFlow, which has an allocator of its own, needs none of it. The backend is KERAS_BACKEND's.
    """
    if _is_kept():
        libc = ctypes.CDLL(None)
        for option, value in _KEEP_FREED.items():
            libc.mallopt(option, value)


def compute_where_it_is_kept():
    """Have JAX compute on a CPU in the thread that asks for it, whose freed memory is kept.

    The thread that JAX leaves a step to may have an arena of malloc's to itself, if there were
    several before the package was imported. There glibc maps an array beyond 64 MB anew each time,
    whatever it was told: a training step's one of 1.2 GB in every step. While JAX computes on a
    CPU there is no processor left for Python, so not waiting gains nothing.

    Call it before JAX first computes; afterwards it has no effect.
    """
    if _is_kept():
        import jax

        jax.config.update("jax_cpu_enable_async_dispatch", False)


def _is_kept():
    needed = os.environ.get("KERAS_BACKEND") in ("jax", "torch")
    said = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    return needed and not said and platform.libc_ver()[0] == "glibc"
