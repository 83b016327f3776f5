"""How a process that has started treats its memory."""

from __future__ import annotations

import ctypes
import gc

__all__ = ["settle"]

_MEBIBYTE = 1 << 20
# Of malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def settle() -> None:
    """Once all that lives as long as the process is there: collections pass over it, and what large
    messages took goes back to the system when they are gone."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    _return_large_blocks()


def _return_large_blocks() -> None:
    """Else glibc learns from the first large request to keep blocks of that size, and among the
    small ones between them it finds no end to cut off: some hundred MiB stay, of no use to anybody.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # as others than glibc have none
        libc.mallopt(_MMAP_THRESHOLD, _MEBIBYTE)
        libc.mallopt(_TRIM_THRESHOLD, 16 * _MEBIBYTE)
