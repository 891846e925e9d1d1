"""Keep the memory that a training step frees, for the next step."""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

# Parameters of glibc's mallopt (malloc.h).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_NEVER = 2**31 - 1  # bytes
# What glibc raises its thresholds to by itself, at most; its default for the number of mappings.
_LARGEST_THRESHOLD, _DEFAULT_MAPPINGS = 32 * 2**20, 65_536


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Let the C library keep freed memory within the context, and return it at the end.

    Otherwise glibc maps each large tensor anew and unmaps it again. The system then clears every
    page once a step, which takes a third of the time of a step on a CPU. Other C libraries are left
    as they are.
    """
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        libc.mallopt(_MMAP_MAX, _DEFAULT_MAPPINGS)
        libc.mallopt(_MMAP_THRESHOLD, _LARGEST_THRESHOLD)
        libc.mallopt(_TRIM_THRESHOLD, 2 * _LARGEST_THRESHOLD)
        libc.malloc_trim(0)
