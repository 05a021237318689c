"""What goes into a handler and what comes out: requests, events, results, the handler protocol.

This package owns the vocabulary that the cogs, the engine, the workers and the backends share. It
must not import Discord, the database or a backend. Requests and results are small, frozen,
versioned and serialisable; bytes travel as references into the spool.
"""

from models.contracts.base import CONTRACT_VERSION, MediaInput, Modality
from models.contracts.codec import (
    EventUnion,
    RequestUnion,
    ResultUnion,
    dump_request,
    dump_result,
    load_request,
    load_result,
    make_request,
)
from models.contracts.events import Finished, HandlerEvent, Notice, Preview, Progress, TextDelta
from models.contracts.handlers import Control, Handler, Stepper
from models.contracts.requests import (
    ChatMessage,
    ImageRequest,
    Request,
    Seed,
    SpeechRequest,
    TextRequest,
    TranscriptionRequest,
    VideoRequest,
    VisionRequest,
)
from models.contracts.results import (
    ImageResult,
    Picture,
    PictureText,
    Result,
    Segment,
    SpeechResult,
    TextLine,
    TextResult,
    TranscriptionResult,
    Usage,
    VideoResult,
    VisionResult,
    Word,
)

__all__ = [
    "CONTRACT_VERSION",
    "ChatMessage",
    "Control",
    "EventUnion",
    "Finished",
    "Handler",
    "HandlerEvent",
    "ImageRequest",
    "ImageResult",
    "MediaInput",
    "Modality",
    "Notice",
    "Picture",
    "PictureText",
    "Preview",
    "Progress",
    "Request",
    "RequestUnion",
    "Result",
    "ResultUnion",
    "Seed",
    "Segment",
    "SpeechRequest",
    "SpeechResult",
    "Stepper",
    "TextDelta",
    "TextLine",
    "TextRequest",
    "TextResult",
    "TranscriptionRequest",
    "TranscriptionResult",
    "Usage",
    "VideoRequest",
    "VideoResult",
    "VisionRequest",
    "VisionResult",
    "Word",
    "dump_request",
    "dump_result",
    "load_request",
    "load_result",
    "make_request",
]
