"""What torch and the libraries on it raise, as what a member is told.

This module owns that translation. It must not import torch before something runs on it.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from models.allocator import give_back_freed_memory
from models.errors import BackendError, HandlerError, ModelLoadFailed, OutOfMemory

_RAISED = (
    RuntimeError, ValueError, LookupError, TypeError, AttributeError, OSError, MemoryError,
    ImportError, AssertionError, ArithmeticError,
)  # fmt: skip


@contextmanager
def translated(otherwise: type[BackendError | ModelLoadFailed]) -> Iterator[None]:
    """Translate what is raised inside; ``otherwise`` is for all but a lack of memory."""
    try:
        yield
    except HandlerError:
        raise
    except _RAISED as error:
        raise (OutOfMemory if lacks_memory(error) else otherwise) from error


def lacks_memory(error: BaseException) -> bool:
    """Whether an error means that the device or the process has no memory left."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # On a processor a failed allocation is a plain RuntimeError.
    return isinstance(error, RuntimeError) and "alloc" in str(error) and "memory" in str(error)


def free_memory() -> None:
    """Give back what nothing refers to any more."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    give_back_freed_memory()
