"""What every backend keeps to, whatever it computes and wherever.

Each is loaded by its entry point with a small model and driven as a worker drives it: tiny
checkpoints of real architectures, the weights that packages carry, servers on loopback.
"""

from __future__ import annotations

import gc
import hashlib
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, fields, is_dataclass
from importlib.metadata import entry_points
from typing import Any

import pytest

from bot.engine.stepper import as_stepper
from models.catalog import BACKEND_GROUP, ModelSpec
from models.contracts import (
    Finished,
    HandlerEvent,
    ImageResult,
    MediaInput,
    Request,
    Result,
    SpeechResult,
    Stepper,
    TextResult,
    TranscriptionResult,
    UpscalingResult,
    VideoResult,
    VisionResult,
    dump_result,
    load_result,
)
from models.errors import HandlerError
from models.media import decode_audio
from tests.models.contract_cases import CASES, SERVER, Ground, Subject
from tests.models.control import ScratchControl

_MOST_STEPS = 3000
_AHEAD = 40
"""Steps that a thread may be ahead of whoever listens when it is told to stop; far from the end."""


@dataclass
class Loaded:
    """A backend in the hands of its worker. Tests of one backend share it."""

    subject: Subject
    control: ScratchControl
    stepper: Stepper
    threads: set[threading.Thread]
    known: dict[str, Any] = field(default_factory=dict)
    closed: bool = False

    def close(self) -> None:
        """End the backend and forget it, unless that was done."""
        if not self.closed:
            self.closed = True
            self.stepper.close()
            self.subject.worker = self.stepper = None  # type: ignore[assignment]

    def run(self, request: Request) -> list[HandlerEvent]:
        """Run a job to its end."""
        self.control.cancelled = False
        self.stepper.admit("job", request, self.control)
        events: list[HandlerEvent] = []
        for _ in range(_MOST_STEPS):
            for job_id, event in self.stepper.step():
                assert job_id == "job"
                if isinstance(event, Exception):
                    raise event
                events.append(event)
                if isinstance(event, Finished):
                    return events
        raise AssertionError("it does not end")

    def result(self) -> Result:
        """Return what the usual request gives, computed once."""
        if "result" not in self.known:
            last = self.run(self.subject.request)[-1]
            assert isinstance(last, Finished)
            self.known["result"] = last.result
        result: Result = self.known["result"]
        return result

    def fingerprint(self, result: Any) -> Any:
        """Return everything that a result says, with the content of its files for their names."""
        if isinstance(result, MediaInput):
            path = self.control.open(result)
            if result.content_type == "audio/ogg":  # its container has a random serial number
                return [block.tobytes() for block in decode_audio(path)]
            return hashlib.sha256(path.read_bytes()).hexdigest()
        if is_dataclass(result):
            return {
                each.name: self.fingerprint(getattr(result, each.name)) for each in fields(result)
            }
        if isinstance(result, tuple):
            return [self.fingerprint(each) for each in result]
        return result


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in CASES],
)
def loaded(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    packaged: Callable[[str], tuple[ModelSpec, str]],
) -> Iterator[Loaded]:
    import torch

    torch.set_num_threads(1)  # several collapse on a busy machine
    folder = tmp_path_factory.mktemp(request.param)
    control = ScratchControl(folder)
    with ExitStack() as stack:
        threads = set(threading.enumerate())
        subject = stack.enter_context(CASES[request.param](Ground(folder, control, packaged)))
        loaded = Loaded(subject, control, as_stepper(subject.worker), threads)
        stack.callback(loaded.close)  # the test that closes it may not be among those that run
        yield loaded


def test_every_backend_has_a_case() -> None:
    ours = {
        entry.name
        for entry in entry_points(group=BACKEND_GROUP)
        if entry.value.startswith("models.")
    }
    assert ours == set(CASES)


def test_it_ends_with_a_result_of_its_kind_and_says_what_was_used(loaded: Loaded) -> None:
    result = loaded.result()
    assert result.modality == loaded.subject.request.modality
    assert result.usage.unit == loaded.subject.unit
    assert result.usage.amount > 0
    assert load_result(dump_result(result)) == result


def test_the_same_request_gives_the_same_result(loaded: Loaded) -> None:
    first = loaded.fingerprint(loaded.result())
    last = loaded.run(loaded.subject.request)[-1]
    assert isinstance(last, Finished)
    assert loaded.fingerprint(last.result) == first


def test_bounds_are_honoured(loaded: Loaded) -> None:
    request: Any = loaded.subject.request
    match loaded.result():
        case TextResult(usage=usage):
            assert usage.amount <= request.max_new_tokens
        case ImageResult(pictures=pictures):
            assert len(pictures) == request.count
            seeds = [picture.seed for picture in pictures]
            assert seeds in ([request.seed, request.seed + 1], [None, None])
            assert all(picture.alt_text for picture in pictures)
        case VisionResult(answers=answers):
            assert len(answers) == len(request.images)
        case VideoResult() as clip:
            assert clip.frames == clip.usage.amount
            assert clip.width_px % 2 == clip.height_px % 2 == 0
            assert clip.alt_text
        case UpscalingResult(picture=picture) as larger:
            assert picture.width_px == request.factor * larger.from_width_px
            assert picture.height_px == request.factor * larger.from_height_px
            assert picture.alt_text
        case SpeechResult() as speech:
            assert speech.usage.amount == len(request.text)
            assert 0 < speech.duration_s < 60
            assert 1 <= len(speech.waveform) <= 256
        case TranscriptionResult() as transcript:
            times = [(each.start_s, each.end_s) for each in transcript.segments]
            assert times == sorted(times)
            assert times
            assert all(0 <= start <= end <= transcript.duration_s + 0.1 for start, end in times)


def test_what_it_cannot_do_is_refused_in_a_sentence(loaded: Loaded) -> None:
    with pytest.raises(HandlerError) as refused:
        loaded.run(loaded.subject.refused)
    assert refused.value.user_message.endswith((".", "?"))
    assert "Traceback" not in refused.value.user_message
    _gives_the_same_as_before(loaded)


def test_a_cancel_ends_the_job_at_its_next_step(loaded: Loaded) -> None:
    """As a worker does it: the job is told, then dropped."""
    _begin(loaded)
    loaded.control.cancelled = True
    loaded.stepper.cancel("job")
    assert list(loaded.stepper.step()) == []
    _gives_the_same_as_before(loaded)


def test_a_job_that_is_only_told_to_stop_does(loaded: Loaded) -> None:
    """A handler looks at ``control.cancelled`` between its steps, and never finishes after it."""
    if hasattr(loaded.subject.worker, "admit"):
        return  # a stepper is told by its own ``cancel``, which is tested above
    _begin(loaded)
    loaded.control.cancelled = True
    for _ in range(_AHEAD):
        events = list(loaded.stepper.step())
        if not events:
            break
        assert not isinstance(events[0][1], Finished | Exception)
    else:
        raise AssertionError("it goes on")
    _gives_the_same_as_before(loaded)


def test_jobs_share_it_and_leave_each_other_alone(loaded: Loaded) -> None:
    """Of three that begin together one is dropped; the others end as they would alone."""
    if loaded.stepper.slots < 3:
        return
    alone = loaded.fingerprint(loaded.result())
    loaded.control.cancelled = False
    for job_id in ("one", "dropped", "two"):
        loaded.stepper.admit(job_id, loaded.subject.request, loaded.control)
    running, steps = {"one", "two"}, 0
    while running:
        for job_id, event in loaded.stepper.step():
            assert not isinstance(event, Exception), event
            if isinstance(event, Finished) and job_id in running:
                running.remove(job_id)
                if loaded.stepper.exact:
                    assert loaded.fingerprint(event.result) == alone
        loaded.stepper.cancel("dropped")
        steps += 1
        assert steps < _MOST_STEPS
    assert list(loaded.stepper.step()) == []


def test_it_closes_cleanly_and_frees_its_memory(loaded: Loaded) -> None:
    """The last test of each backend."""
    worker = weakref.ref(loaded.subject.worker)
    loaded.close()
    gc.collect()
    assert worker() is None
    left = {each.name for each in threading.enumerate() if each not in loaded.threads}
    assert left <= {SERVER, "tqdm_monitor"}  # a library's, one for the whole process


def _begin(loaded: Loaded) -> None:
    """Let a long job run until its first event."""
    loaded.control.cancelled = False
    loaded.stepper.admit("job", loaded.subject.lengthy, loaded.control)
    for _ in range(_MOST_STEPS):
        if events := list(loaded.stepper.step()):
            assert not isinstance(events[0][1], Finished | Exception), events
            return
    raise AssertionError("it does not begin")


def _gives_the_same_as_before(loaded: Loaded) -> None:
    last = loaded.run(loaded.subject.request)[-1]
    assert isinstance(last, Finished)
    assert loaded.fingerprint(last.result) == loaded.fingerprint(loaded.result())
