"""Everything that can go wrong between a request and its result, as a person is told it.

This module owns the exception tree and the sentence that each branch shows. It must not import
Discord, the database or any backend: library errors are translated into these once, at the
boundary of the handler that met them (``raise ... from``).

The tree::

    HandlerError                      something went wrong; its message is fit to be shown
    ├── InvalidRequest                the member can mend it: nothing was computed
    │   ├── UnsupportedOption         the model cannot do what was asked
    │   ├── EmptyInput                there was nothing to work on
    │   ├── InputTooLong              more text, sound or bytes than the limit
    │   └── InvalidMedia              the file is not what it claims, or is damaged
    │       ├── EncryptedMedia        the file is protected by a password or DRM
    │       └── UnsafePicture         the safety check takes it for explicit, which is blocked
    ├── ModelUnavailable              the owner can mend it
    │   ├── ModelNotInstalled         the weights are not on this machine
    │   └── ModelLoadFailed           the weights are there and did not load
    ├── BackendError                  a library or a remote server failed
    │   ├── BackendRefused            a remote server refused (key, quota, content)
    │   └── BackendUnreachable        a remote server did not answer in time
    ├── ResourceExhausted             the machine ran out of something
    │   ├── OutOfMemory               memory of the device or the process
    │   └── DiskFull                  the spool has no room
    ├── DeadlineExceeded              a stage took longer than it may
    ├── WorkerCrashed                 the worker process died
    ├── LimitReached                  the member or the server has used up what it may use
    └── JobCancelled                  somebody asked for it to stop
"""

from __future__ import annotations

from typing import ClassVar


class HandlerError(Exception):
    """A failure with one clear sentence for the person who asked.

    Attributes:
        kind: Stable name of the branch, kept in the usage log.
        retryable: Whether the engine may run the job once more without being asked.
        user_message: The sentence that is shown. It never contains a traceback or a path.
    """

    kind: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False
    default_message: ClassVar[str] = "Something went wrong here. Please try again."

    def __init__(self, user_message: str | None = None) -> None:
        self.user_message = user_message or self.default_message
        super().__init__(self.user_message)


class InvalidRequest(HandlerError):
    kind = "invalid_request"
    default_message = "That request cannot be carried out as it is."


class UnsupportedOption(InvalidRequest):
    kind = "unsupported_option"
    default_message = "This model does not support one of the chosen options."


class EmptyInput(InvalidRequest):
    kind = "empty_input"
    default_message = "There is nothing to work on: the input is empty."


class InputTooLong(InvalidRequest):
    kind = "input_too_long"
    default_message = "The input is longer than this model can take."


class InvalidMedia(InvalidRequest):
    kind = "invalid_media"
    default_message = "That file is damaged, or is not the kind of file that its name says."


class EncryptedMedia(InvalidMedia):
    kind = "encrypted_media"
    default_message = "That file is encrypted, so it cannot be read. Please send it unprotected."


class UnsafePicture(InvalidMedia):
    kind = "unsafe_picture"
    default_message = (
        "The safety check takes that picture for explicit, which is blocked here. It was not used."
    )


class ModelUnavailable(HandlerError):
    kind = "model_unavailable"
    default_message = "This model is not available here right now."


class ModelNotInstalled(ModelUnavailable):
    kind = "model_not_installed"
    default_message = "This model is not installed here. `/models` shows the ones that are."


class ModelLoadFailed(ModelUnavailable):
    kind = "model_load_failed"
    default_message = "The model could not be loaded. The owner finds the reason in the log."


class BackendError(HandlerError):
    kind = "backend_error"
    default_message = "The model failed while working on this. Please try again."


class BackendRefused(BackendError):
    kind = "backend_refused"
    default_message = "The model's server refused this request."


class BackendUnreachable(BackendError):
    kind = "backend_unreachable"
    default_message = "The model's server did not answer. Please try again in a moment."


class ResourceExhausted(HandlerError):
    kind = "resource_exhausted"
    default_message = "This machine has not enough room for that right now."


class OutOfMemory(ResourceExhausted):
    kind = "out_of_memory"
    default_message = "The machine ran out of memory for this. Try something shorter or smaller."


class DiskFull(ResourceExhausted):
    kind = "disk_full"
    default_message = "The bot's disk is full, so the file could not be stored. Tell the owner."


class DeadlineExceeded(HandlerError):
    kind = "deadline_exceeded"
    default_message = "This took longer than it may, so it was stopped."


class WorkerCrashed(HandlerError):
    kind = "worker_crashed"
    retryable = True
    default_message = "The model crashed twice on this, so it was given up. Please try another way."


class LimitReached(HandlerError):
    kind = "limit_reached"
    default_message = "You have reached your limit for now."


class JobCancelled(HandlerError):
    kind = "cancelled"
    default_message = "Stopped."


def failure_of(error: Exception) -> HandlerError:
    """Return what a library's exception means to a person: no memory left, or a failed model."""
    if isinstance(error, HandlerError):
        return error
    text = str(error).lower()
    full = isinstance(error, MemoryError) or "out of memory" in text or "failed to alloc" in text
    return OutOfMemory() if full else BackendError()


def error_of_kind(kind: str, user_message: str) -> HandlerError:
    """Rebuild an error that crossed a process border from its kind and its sentence."""
    return _KINDS.get(kind, HandlerError)(user_message)


def _branches(root: type[HandlerError]) -> dict[str, type[HandlerError]]:
    found = {root.kind: root}
    for child in root.__subclasses__():
        found |= _branches(child)
    return found


_KINDS = _branches(HandlerError)
