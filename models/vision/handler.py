"""A vision job: pictures in, one answer each, in their order.

This module owns what all models that look at pictures share: opening, the safety score, progress,
what happens when one of several pictures is bad. What a library does with one picture is a
``Reader``. It must not import a library that computes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from models.catalog import ModelSpec
from models.contracts import (
    Control,
    Finished,
    HandlerEvent,
    MediaInput,
    Notice,
    PictureText,
    Progress,
    TextDelta,
    Usage,
    VisionRequest,
    VisionResult,
)
from models.errors import InvalidRequest
from models.image.pictures import fit_bytes, read_picture
from models.image.safety import SafetyClassifier, is_blocked
from models.vision.tasks import Task, check_task, tasks_of

if TYPE_CHECKING:
    from PIL import Image

Reading: TypeAlias = Generator[HandlerEvent, None, PictureText | None]
"""What a reader tells about one picture, and its answer; None when it was told to stop."""

SEPARATOR: Final = "\n\n"
"""Between the answers of several pictures, in what is streamed."""

_COPY_PX: Final = 2048
_COPY_BYTES: Final = 2 << 20
"""Screenshots stay PNGs; photos become JPEGs."""


class Reader(Protocol):
    """A loaded model. ``tasks`` is what its kind can do."""

    tasks: frozenset[Task]

    def read(self, picture: Image.Image, request: VisionRequest, control: Control) -> Reading:
        """Look at one picture; stop at the next safe place once ``control.cancelled``."""

    def close(self) -> None:
        """Free the memory of the model."""


class VisionHandler:
    """Answers about pictures, one at a time. See ``models.contracts.Handler``."""

    def __init__(self, spec: ModelSpec, reader: Reader, safety_dir: str = "") -> None:
        self._spec = spec
        self._reader = reader
        self._tasks = tasks_of(spec, reader.tasks)
        self._safety = SafetyClassifier.load(safety_dir or None)

    def close(self) -> None:
        """Free the models."""
        self._reader.close()
        self._safety = None

    def run(self, request: VisionRequest, control: Control) -> Iterator[HandlerEvent]:
        """Look at each picture; see ``models.contracts.Handler.run``.

        A picture that cannot be read fails the job only if there is no other: among several its
        answer is empty, and a notice says why.
        """
        check_task(self._spec, self._tasks, request)
        total = len(request.images)
        answers: list[PictureText] = []
        failures: dict[int, InvalidRequest] = {}
        for number, media in enumerate(request.images, start=1):
            if control.cancelled:
                return
            yield Progress(_stage(number, total), (number - 1) / total)
            narrowed = _part_of_progress(number - 1, total)
            try:
                answer = yield from self._answer(media, request, control, narrowed)
            except InvalidRequest as error:
                failures[number] = error
                answers.append(PictureText(""))
                continue
            if answer is None:
                return
            if number < total:
                yield TextDelta(SEPARATOR)
            answers.append(answer)
        if len(failures) == total:
            raise failures[1]
        for number, failure in failures.items():
            yield Notice(f"Picture {number} of {total}: {failure.user_message}")
        yield Finished(VisionResult(answers=tuple(answers), usage=Usage(total, "pictures")))

    def _answer(
        self,
        media: MediaInput,
        request: VisionRequest,
        control: Control,
        narrowed: Callable[[Progress], Progress],
    ) -> Reading:
        picture = read_picture(control.open(media))
        yield from (Notice(notice) for notice in picture.notices)
        score = self._safety.score(picture.image) if self._safety else None
        if is_blocked(score, request.blocked_from):
            return PictureText("", unsafe_score=score)
        reading = self._reader.read(picture.image, request, control)
        streamed = False
        try:
            while True:
                event = next(reading)
                streamed = streamed or isinstance(event, TextDelta)
                yield narrowed(event) if isinstance(event, Progress) else event
        except StopIteration as end:
            answer: PictureText | None = end.value
        finally:
            reading.close()
        if answer is None:
            return None
        if answer.text and not streamed:
            yield TextDelta(answer.text)
        copy = control.store(*_copy(picture.image)) if request.copies else None
        return replace(answer, unsafe_score=score, copy=copy)


def _copy(image: Image.Image) -> tuple[bytes, str, str]:
    """Return a picture as a file to show: its bytes, name and type."""
    small = image.copy()
    small.thumbnail((_COPY_PX, _COPY_PX))
    data, content_type = fit_bytes(small, _COPY_BYTES)
    return data, f"picture.{content_type.partition('/')[2]}", content_type


def _stage(number: int, total: int) -> str:
    return f"picture {number} of {total}" if total > 1 else "looking at the picture"


def _part_of_progress(done: int, total: int) -> Callable[[Progress], Progress]:
    """Return a function that turns the progress of one picture into that of the job."""

    def narrowed(progress: Progress) -> Progress:
        stage = f"{_stage(done + 1, total)}: {progress.stage}" if total > 1 else progress.stage
        if progress.fraction is None:
            return Progress(stage)
        return Progress(stage, (done + progress.fraction) / total)

    return narrowed
