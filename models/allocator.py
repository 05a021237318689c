"""The C library's allocator, told to keep a worker's memory level.

This module owns its switches. It does nothing where the C library is not glibc.
"""

from __future__ import annotations

import ctypes

_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 8 << 20


def give_back_large_blocks() -> None:
    """Let blocks above 8 MiB go back to the system when they are freed.

    By default glibc raises that limit to 32 MiB by itself, and arrays of changing sizes then leave
    holes: an hour of transcription grew by 200 MB. Lower limits cost time in the kernel.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def give_back_freed_memory() -> None:
    """Give what was freed back to the system: a model that went would count against the next."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
