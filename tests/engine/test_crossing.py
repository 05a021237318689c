"""Frames and files between machines, without a cluster: a worker in a thread plays the far one."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading

import pytest

from bot.engine import protocol
from bot.engine.crossing import Calls, Ended, Status, ends, made_in, refusal, runs_in
from bot.engine.port import Vitals
from bot.engine.protocol import (
    Cancel,
    JobEvent,
    JobFailed,
    JobStopped,
    Load,
    Ready,
    Run,
    RunTogether,
    Shutdown,
    Vital,
)
from bot.engine.ray_bridge import Bridge
from bot.engine.spool import Spool
from bot.engine.worker import Worker
from models.contracts import ImageRequest, Preview, SpeechRequest, TextDelta
from models.errors import DiskFull
from tests.fake_pictures import colour_of, picture
from tests.fakes import fake_model, text_request
from tests.scripted import resolve

pytestmark = pytest.mark.slow  # threads and processes: time is the real one

HELD = Vitals(5, 6)


def run(request, job_id="a"):
    return Run(job_id, 1, "fake", request)


def drawing(reference=None, prompt="grey"):
    return ImageRequest(prompt, reference=reference)


def decoded(batches):
    return [protocol.decode_report(frame) for batch in batches for frame, _ in batch]


# --------------------------------------------------------------------------- the worker's end


@pytest.fixture
def here(tmp_path):
    return Spool(tmp_path / "here")


@pytest.fixture
def far(tmp_path):
    return Spool(tmp_path / "far")


@pytest.fixture
def calls(far):
    return Calls(far, lambda: HELD)


def put(calls, command, *files):
    calls.put(protocol.encode_command(command), files)


def test_a_jobs_files_are_there_before_the_worker_hears_of_it(calls, here, far):
    media = here.store(picture("red"), "red.png", "image/png")
    put(calls, run(drawing(media)), (media, picture("red")))
    assert calls.receive().request.reference == media
    assert far.checked_path(media).read_bytes() == picture("red")


def test_a_job_whose_file_was_damaged_on_its_way_fails_and_others_run(calls, here):
    media = here.store(picture("red"), "red.png", "image/png")
    put(calls, run(drawing(media), "broken"), (media, picture("blue")))
    put(calls, run(drawing(), "whole"))
    assert calls.receive().job_id == "whole"
    [failed] = decoded([next(calls.reports())])
    assert (failed.job_id, failed.kind) == ("broken", "invalid_media")


def test_what_a_job_made_travels_beside_the_report_and_is_kept_no_longer(calls, far):
    media = far.store(b"jpeg", "preview.jpg", "image/jpeg")
    calls.send(JobEvent("a", 1, 0, Preview(media)))
    [[(_, [(sent, data)])]] = [next(calls.reports())]
    assert (sent, data) == (media, b"jpeg")
    assert not list(far.folder.iterdir())


def test_a_file_stays_as_long_as_any_job_reads_it(calls, here, far):
    media = here.store(picture("red"), "red.png", "image/png")
    for name in "ab":
        put(calls, run(drawing(media), name), (media, picture("red")))
    calls.send(JobStopped("a", 1))
    assert far.checked_path(media)
    calls.send(JobFailed("b", 1, "backend", "", ""))
    assert not list(far.folder.iterdir())


def test_what_a_cancelled_job_had_stored_goes_with_it(calls, far):
    put(calls, run(drawing()))
    far.store(b"half", "half.png", "image/png")
    calls.send(JobStopped("a", 1))
    assert not list(far.folder.iterdir())


def test_what_the_worker_holds_is_told_every_second_or_so(calls, monkeypatch):
    monkeypatch.setattr("bot.engine.crossing.VITALS_S", 0.01)
    reports = calls.reports()
    assert decoded([next(reports)]) == [Vital(5, 6)]
    calls.send(Ready(1))
    while decoded([next(reports)]) != [Vital(5, 6)]:
        pass


def test_reports_end_with_all_that_was_to_be_told(calls):
    sent = [Ready(1), *(JobEvent("a", 1, n, TextDelta(str(n))) for n in range(3))]
    for report in sent:
        calls.send(report)
    calls.close()
    assert decoded(calls.reports()) == sent


def test_every_command_says_which_jobs_it_starts():
    one, other = run(text_request("a")), run(text_request("b"), "b")
    assert runs_in(one) == (one,)
    assert runs_in(RunTogether((one, other))) == (one, other)
    assert runs_in(Cancel("a")) == ()


# --------------------------------------------------------------------------- there and back


class Thread:
    """A worker of another machine, as the bridge sees it."""

    def __init__(self, spool):
        self.calls = Calls(spool, lambda: HELD)
        self.puts = []
        self.lost = None
        worker = Worker(resolve, "cpu", spool, self.calls.send)
        threading.Thread(target=self._serve, args=(worker,), daemon=True).start()

    async def put(self, frame, files):
        self.puts.append((protocol.decode_command(frame), [media for media, _ in files]))
        await asyncio.to_thread(self.calls.put, frame, files)

    async def reports(self):
        reports = self.calls.reports()
        while batch := await asyncio.to_thread(next, reports, None):
            yield batch
        if self.lost:
            raise self.lost

    def _serve(self, worker):
        self.calls.send(Ready(0))
        while not isinstance(command := self.calls.receive(), Shutdown):
            worker.handle(command)
            while worker.busy:
                worker.step()
        self.calls.close()


class Engine:
    """The bot's end of a bridge's socket."""

    def __init__(self, reader, writer):
        self._reader, self._writer = reader, writer

    def send(self, command):
        self._writer.write(protocol.frame(protocol.encode_command(command)))

    async def next(self, *wanted):
        """Return the next report of a type; the others are passed over."""
        while True:
            header = await self._reader.readexactly(protocol.HEADER.size)
            frame = await self._reader.readexactly(*protocol.HEADER.unpack(header))
            if isinstance(report := protocol.decode_report(frame), wanted):
                return report

    async def finished(self):
        while True:
            report = await self.next(JobEvent, JobFailed)
            if ends(report):
                return report

    def close(self):
        self._writer.close()


@pytest.fixture
async def bridged(here, far):
    """A bridge that runs, the engine's end of it, and the worker at its other end."""
    ours, theirs = socket.socketpair()
    thread = Thread(far)
    bridge = Bridge(*await asyncio.open_connection(sock=theirs), thread, here)
    crossing = asyncio.create_task(bridge.run())
    engine = Engine(*await asyncio.open_connection(sock=ours))
    engine.send(Load(fake_model("fake"), "/nowhere"))
    yield engine, thread, crossing
    engine.close()
    thread.calls.close()
    with contextlib.suppress(Ended):
        await asyncio.wait_for(crossing, 30)
    bridge._writer.close()


async def test_a_picture_goes_there_and_another_comes_back(bridged, here):
    engine, thread, _ = bridged
    reference = here.store(picture("blue"), "blue.png", "image/png")
    engine.send(run(drawing(reference)))
    done = await engine.finished()
    [made] = made_in(done)
    assert colour_of(here.checked_path(made)) == "blue"
    assert thread.puts[-1][1] == [reference]


async def test_previews_come_back_on_the_way(bridged, here):
    engine, _, _ = bridged
    engine.send(run(drawing(prompt="!preview red\nblue")))
    [preview] = made_in(await engine.next(JobEvent))
    assert here.checked_path(preview).stat().st_size == preview.size_bytes


async def test_a_sound_comes_back(bridged, here):
    engine, _, _ = bridged
    engine.send(run(SpeechRequest("hello")))
    [sound] = made_in(await engine.finished())
    assert here.checked_path(sound).read_bytes() == b"OggShello"


async def test_a_job_whose_file_is_gone_here_fails_with_the_sentence(bridged, here):
    engine, thread, _ = bridged
    media = here.store(picture("blue"), "blue.png", "image/png")
    here.discard([media.path])
    engine.send(run(drawing(media)))
    failed = await engine.finished()
    assert (failed.job_id, failed.kind) == ("a", "invalid_media")
    assert not [command for command, _ in thread.puts if isinstance(command, Run)]


async def test_a_result_for_which_there_is_no_room_fails_the_job(bridged, here, monkeypatch):
    engine, _, _ = bridged

    def adopt(media, data):
        raise DiskFull

    monkeypatch.setattr(here, "adopt", adopt)
    engine.send(run(drawing(prompt="!preview red\nblue")))
    assert (await engine.next(JobEvent)).event == TextDelta("blue ")  # without the preview
    assert await engine.finished() == refusal(run(drawing()), DiskFull())


async def test_the_bridge_ends_with_the_worker(bridged):
    engine, _, crossing = bridged
    engine.send(Shutdown())
    await asyncio.wait_for(crossing, 30)


async def test_the_loss_of_the_worker_ends_the_bridge(bridged):
    _, thread, crossing = bridged
    thread.lost = Ended(Status.MACHINE_LOST, "a power cut")
    thread.calls.close()
    with pytest.raises(Ended, match="power cut"):
        await asyncio.wait_for(crossing, 30)
