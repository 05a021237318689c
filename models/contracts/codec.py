"""Requests and results as JSON, and requests from what a person typed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from models.contracts.events import HandlerEvent
from models.contracts.requests import (
    ImageRequest,
    Request,
    SpeechRequest,
    TextRequest,
    TranscriptionRequest,
    UpscalingRequest,
    VideoRequest,
    VisionRequest,
)
from models.contracts.results import Result
from models.errors import InvalidRequest

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

RequestUnion = Annotated[Request, Field(discriminator="modality")]
ResultUnion = Annotated[Result, Field(discriminator="modality")]
EventUnion = Annotated[HandlerEvent, Field(discriminator="type")]

_REQUESTS: TypeAdapter[Request] = TypeAdapter(RequestUnion)
_RESULTS: TypeAdapter[Result] = TypeAdapter(ResultUnion)


_OPTIONS = {"num_inference_steps": "steps", "guidance_scale": "guidance"}
_BOUNDS = {
    "greater_than_equal": "is at least {ge}",
    "greater_than": "is more than {gt}",
    "less_than_equal": "is at most {le}",
    "less_than": "is less than {lt}",
    "string_too_long": "has at most {max_length:,} characters",
    "string_too_short": "is empty",
    "too_long": "has at most {max_length} entries",
    "too_short": "is empty",
}
"""What pydantic finds wrong, in our words."""

RequestT = TypeVar(
    "RequestT",
    TextRequest,
    ImageRequest,
    VisionRequest,
    VideoRequest,
    UpscalingRequest,
    SpeechRequest,
    TranscriptionRequest,
)


AnyRequestT = TypeVar("AnyRequestT", bound=Request)


def make_request(kind: type[RequestT], **fields: Any) -> RequestT:
    """Build a request from what a person typed.

    Raises:
        InvalidRequest: With a sentence that names the option and its bound.
    """
    try:
        return kind(**fields)
    except ValidationError as error:
        raise _out_of_bounds(error) from error


def amended(request: AnyRequestT, **changes: Any) -> AnyRequestT:
    """Return a request with some fields changed by what a person typed.

    Raises:
        InvalidRequest: With a sentence that names the option and its bound.
    """
    try:
        return replace(request, **changes)
    except ValidationError as error:
        raise _out_of_bounds(error) from error


def _out_of_bounds(error: ValidationError) -> InvalidRequest:
    problems = "; ".join(
        f"`{_option(str(problem['loc'][0]))}` {_bound(problem)}"
        for problem in error.errors(include_url=False)
    )
    return InvalidRequest(f"That does not fit: {problems}.")


def _option(field: str) -> str:
    """Return what the commands call a field."""
    return _OPTIONS.get(field, field.removesuffix("_px").removesuffix("_s"))


def _bound(problem: ErrorDetails) -> str:
    known = _BOUNDS.get(problem["type"])
    return known.format(**problem.get("ctx", {})) if known else "can't be that"


def dump_request(request: Request) -> str:
    """Return a request as JSON."""
    return _REQUESTS.dump_json(request).decode()


def load_request(data: str | bytes) -> Request:
    """Read a request from JSON.

    Raises:
        InvalidRequest: It is of another version, or out of bounds.
    """
    try:
        return _REQUESTS.validate_json(data)
    except ValidationError as error:
        raise InvalidRequest("This was stored by another version and can't be repeated.") from error


def dump_result(result: Result) -> str:
    """Return a result as JSON."""
    return _RESULTS.dump_json(result).decode()


def load_result(data: str | bytes) -> Result:
    """Read a result from JSON."""
    return _RESULTS.validate_json(data)
