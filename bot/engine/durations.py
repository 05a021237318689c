"""How long things take here, learned from what was measured.

This module owns the estimates behind the expected wait and the fair shares. It must not look at a
clock: whoever measures hands the seconds in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from bot.engine.job import Job, Measured, Submission
from models.catalog import Catalog, ModelSpec
from models.contracts import (
    ImageRequest,
    Modality,
    Request,
    SpeechRequest,
    TextRequest,
    TranscriptionRequest,
    Usage,
    VideoRequest,
    VisionRequest,
)

UNKNOWN_COST_S = 10.0
"""What a job is taken to cost before anything like it was measured."""

_MEMORY = 0.8
"""Weight of what was known before, at each new measurement."""

_USUAL_TOKENS, _USUAL_STEPS = 200.0, 30
_TOKENS_READ_AS_ONE_WRITTEN = 5.0
_CHARACTERS_A_TOKEN = 4.0
_SOUND_BYTES_S = {"audio/wav": 88_200.0, "audio/x-wav": 88_200.0, "audio/flac": 60_000.0}
_USUAL_SOUND_BYTES_S = 8_000.0
"""Bytes of a second of sound, before any of its content type was measured."""


@dataclass(slots=True)
class _Ratio:
    """One thing per another, as a ratio of two fading sums: large jobs weigh more."""

    amount: float = 0.0
    per: float = 0.0

    def add(self, amount: float, per: float) -> None:
        self.amount = self.amount * _MEMORY + amount
        self.per = self.per * _MEMORY + per

    @property
    def value(self) -> float:
        return self.amount / self.per


class Durations:
    """Measured run and load times.

    Args:
        steps: How many steps models take that are not told a number, by their ids.
    """

    def __init__(self, steps: Mapping[str, int] | None = None) -> None:
        self._steps = steps or {}
        self._runs: dict[str, _Ratio] = {}
        self._costs: dict[str, _Ratio] = {}
        self._loads: dict[str, float] = {}
        self._tokens: dict[str, _Ratio] = {}
        self._sound: dict[str, _Ratio] = {}
        self._jobs: dict[Modality, dict[str, _Ratio]] = {}

    # ----------------------------------------------------------------- learning

    def ran(self, job: Job, run_s: float, usage: Usage | None = None) -> None:
        """Learn from a job that was done, and put its true size in place of the expected one.

        Args:
            job: Its ``device_s`` is what it took of its lane.
            run_s: Seconds from its beginning to its end, without the loading of its model.
            usage: What it used.
        """
        request = job.submission.request
        if usage is not None and isinstance(request, TranscriptionRequest):
            media = request.media
            self._sound.setdefault(media.content_type, _Ratio()).add(media.size_bytes, usage.amount)
            job.work = usage.amount
        elif usage is not None and isinstance(request, TextRequest):
            job.work = usage.amount + _reading(request)
        self._learn(
            Measured(
                model_id=job.submission.model_id,
                modality=job.modality,
                work=self._work(job),
                run_s=run_s,
                device_s=job.device_s or run_s,
                units=usage.amount if usage is not None else None,
            )
        )

    def loaded(self, model_id: str, seconds: float) -> None:
        """Learn from a load."""
        self._loads[model_id] = seconds

    def recall(self, measured: Iterable[Measured]) -> None:
        """Learn from what was done in earlier runs of the bot, the oldest first."""
        for job in measured:
            if job.work > 0:
                self._learn(job)
            if job.load_s > 0:
                self.loaded(job.model_id, job.load_s)

    def _learn(self, job: Measured) -> None:
        self._runs.setdefault(job.model_id, _Ratio()).add(job.run_s, job.work)
        self._costs.setdefault(job.model_id, _Ratio()).add(job.device_s, job.work)
        models = self._jobs.setdefault(job.modality, {})
        models.setdefault(job.model_id, _Ratio()).add(job.run_s, 1.0)
        if job.modality is Modality.TEXT and job.units is not None:
            self._tokens.setdefault(job.model_id, _Ratio()).add(job.units, 1.0)

    # ----------------------------------------------------------------- foretelling

    def work_of(self, submission: Submission) -> float:
        """Return the size of a request, in a unit that grows with its run time on its model.

        An answer's length and the length of a sound are unknown beforehand: those are expected.
        """
        model_id = submission.model_id
        match submission.request:
            case TextRequest(max_new_tokens=most) as request:
                tokens = self._tokens.get(model_id)
                expected = tokens.value if tokens else _USUAL_TOKENS
                return min(expected, float(most)) + _reading(request)
            case TranscriptionRequest(media=media):
                sound = self._sound.get(media.content_type)
                usual = _SOUND_BYTES_S.get(media.content_type, _USUAL_SOUND_BYTES_S)
                return max(1.0, media.size_bytes / (sound.value if sound else usual))
            case request:
                return _size(request, self._steps.get(model_id, _USUAL_STEPS))

    def run_s(self, job: Job) -> float | None:
        """Return the expected run time in seconds, None while nothing like it was measured.

        A model that never ran is taken to be like the others of its kind.
        """
        ratio = self._runs.get(job.submission.model_id)
        if ratio is not None:
            return ratio.value * self._work(job)
        alike = self._jobs.get(job.modality)
        return median(job_s.value for job_s in alike.values()) if alike else None

    def cost_s(self, job: Job) -> float:
        """Return what a job takes from its server's and its member's share, in seconds."""
        ratio = self._costs.get(job.submission.model_id)
        if ratio is not None:
            return ratio.value * self._work(job)
        return self.run_s(job) or UNKNOWN_COST_S

    def load_s(self, spec: ModelSpec) -> float:
        """Return the expected load time in seconds."""
        return self._loads.get(spec.id, spec.load_s)

    def _work(self, job: Job) -> float:
        return job.work or self.work_of(job.submission)


def usual_steps(catalog: Catalog) -> dict[str, int]:
    """Return how many steps the models of a catalogue take that are not told a number."""
    steps = ((spec.id, spec.options.get("num_inference_steps")) for spec in catalog.all())
    return {model_id: int(number) for model_id, number in steps if number}


def _size(request: Request, steps: int) -> float:
    match request:
        case SpeechRequest(text=text):
            return float(len(text))
        case ImageRequest():
            pixels = request.width_px * request.height_px
            return float(request.count * (request.num_inference_steps or steps) * pixels)
        case VideoRequest():
            pixels = request.width_px * request.height_px
            return request.seconds * (request.num_inference_steps or steps) * pixels
        case VisionRequest(images=images):
            return float(len(images))
        case _:
            return 1.0


def _reading(request: TextRequest) -> float:
    """Return how many written tokens the reading of a conversation is worth."""
    characters = sum(len(message.content) for message in request.messages)
    return characters / (_CHARACTERS_A_TOKEN * _TOKENS_READ_AS_ONE_WRITTEN)
