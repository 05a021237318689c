"""Jobs and results for the tests of delivery."""

from dataclasses import replace

from bot.engine.job import Anchor, Job, Requester, Submission
from models.contracts import (
    ChatMessage,
    MediaInput,
    Request,
    Segment,
    SpeechRequest,
    SpeechResult,
    TextRequest,
    TextResult,
    TranscriptionRequest,
    TranscriptionResult,
    Usage,
)

USER_ID = 4001
JOB_ID = "0123456789abcdef"
RECIPE_ID = "fedcba9876543210"
ANCHOR = Anchor(channel_id=70, message_id=900)
MEDIA = MediaInput("a" * 32, "clip.ogg", "audio/ogg", 4, "0" * 64)


def job(
    request: Request | None = None,
    *,
    anchor: Anchor = ANCHOR,
    took_s: float = 3.0,
    **presentation: object,
) -> Job:
    request = request or TextRequest((ChatMessage("user", "hello"),))
    made = Job(
        JOB_ID,
        Submission(
            request, "a-model", Requester(USER_ID, 50, 70), anchor, "key", dict(presentation)
        ),
        created_at=1_000_000.0,
    )
    made.finished_at = made.created_at + took_s
    return made


def private(anchor: Anchor = ANCHOR) -> Anchor:
    return replace(anchor, ephemeral=True)


def text_result(text: str, **fields: object) -> TextResult:
    return TextResult(text=text, usage=Usage(12, "tokens"), **fields)  # type: ignore[arg-type]


def speech_job(**options: object) -> Job:
    return job(SpeechRequest("Hello there"), **options)  # type: ignore[arg-type]


def speech_result() -> SpeechResult:
    return SpeechResult(MEDIA, 12.3, bytes(range(64)), Usage(11, "characters"), voice="Ada")


def transcription_job(**options: object) -> Job:
    return job(TranscriptionRequest(MEDIA), **options)  # type: ignore[arg-type]


def transcript(*sentences: str) -> TranscriptionResult:
    segments = tuple(Segment(4.0 * n, 4.0 * n + 2.0, text) for n, text in enumerate(sentences))
    return TranscriptionResult(segments, "en", 4.0 * len(segments), Usage(9, "seconds"))
