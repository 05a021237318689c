"""What every backend keeps to that asks somebody else's server: refusals, silences, keys, cancels.

What is a matter of one server alone is in the tests of its backend.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from models.catalog import PathSource
from models.contracts import Finished, HandlerEvent, Request
from models.errors import (
    BackendError,
    BackendRefused,
    BackendUnreachable,
    HandlerError,
    InputTooLong,
    ModelLoadFailed,
    ModelUnavailable,
)
from models.tasks import TaskStepper
from tests.models.control import ScratchControl
from tests.models.hosted_cases import CASES, OPENAI, Case, served
from tests.models.loopback import Reply, cancel_while_it_waits, nobody, run

SILENCE = Reply(wait_s=30)
SPEAKS_JSON = sorted(set(CASES) - {"text", "speech"})
"""Those that are answered with one JSON document."""
CLOSES_AT_ONCE = sorted(set(CASES) - {"video"})
"""Those that have nothing to take back at the server when they are cancelled."""


@dataclass
class Hosted:
    """A backend and its server, which the tests of a backend share."""

    case: Case
    server: Any
    stepper: TaskStepper
    request: Request
    control: ScratchControl

    def ask(self) -> list[HandlerEvent]:
        return run(self.stepper, self.request, self.control)

    def ask_well(self) -> None:
        """Hold that a job ends well."""
        self.server.script = list(self.case.good)
        assert isinstance(self.ask()[-1], Finished)


@pytest.fixture(scope="module")
def loaded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hosted]:
    folder = tmp_path_factory.mktemp(request.param)
    control = ScratchControl(folder)
    case = CASES[request.param]
    with served(request.param, folder) as (server, stepper):
        yield Hosted(case, server, stepper, case.request(folder), control)


@pytest.fixture
def hosted(loaded: Hosted) -> Hosted:
    """The backend and its server, as if nothing had been asked yet."""
    server = loaded.server
    server.script, server.company = [], 0
    server.requests.clear()
    server.times.clear()
    server.left.clear()
    return loaded


every = pytest.mark.parametrize("loaded", CASES, indirect=True)
every_openai = pytest.mark.parametrize("loaded", OPENAI, indirect=True)


def fails(hosted: Hosted, kind: type[HandlerError], sentence: str) -> None:
    """Hold that a job fails with one sentence of a kind, and that the next one does not."""
    with pytest.raises(HandlerError) as caught:
        hosted.ask()
    assert type(caught.value) is kind
    assert sentence in caught.value.user_message
    hosted.ask_well()


CONTEXT = "This model's maximum context length is 4096 tokens"
UNSAFE = "It was rejected by the safety system."


@every
@pytest.mark.parametrize(
    ("status", "message", "kind", "sentence"),
    [
        (401, "No.", BackendRefused, "refused the bot's key"),
        (403, "No.", BackendRefused, "refused the bot's key"),
        (400, "The API key is not valid.", BackendRefused, "refused the bot's key"),
        (402, "No.", BackendRefused, "quota"),
        (404, "No.", ModelUnavailable, "does not have this model"),
        (410, "No.", ModelUnavailable, "does not have this model"),
        (429, "No.", BackendRefused, "too busy"),
        (400, CONTEXT, InputTooLong, "longer"),
        (400, "It is too long.", InputTooLong, "longer"),
        (400, UNSAFE, BackendRefused, "content rules"),
        (400, "No.", BackendRefused, "did not accept"),
        (413, "No.", BackendRefused, "did not accept"),
        (422, "messages must alternate", BackendRefused, "did not accept"),
        (500, "No.", BackendError, "failed"),
        (502, "No.", BackendUnreachable, "did not answer"),
        (503, "No.", BackendUnreachable, "did not answer"),
    ],
)
def test_every_refusal_has_its_sentence(
    hosted: Hosted, status: int, message: str, kind: type[HandlerError], sentence: str
) -> None:
    hosted.server.script = [hosted.case.refuses(status, "", message)]
    fails(hosted, kind, sentence)
    assert len(hosted.server.requests) == 2, "one of each job"


@every_openai
@pytest.mark.parametrize(
    ("status", "code", "kind", "sentence"),
    [
        (401, "invalid_api_key", BackendRefused, "refused the bot's key"),
        (404, "model_not_found", ModelUnavailable, "does not have this model"),
        (429, "insufficient_quota", BackendRefused, "quota"),
        (400, "context_length_exceeded", InputTooLong, "longer"),
        (400, "moderation_blocked", BackendRefused, "content rules"),
        (400, "content_policy_violation", BackendRefused, "content rules"),
        (400, "content_filter", BackendRefused, "content rules"),
        (400, "billing_hard_limit_reached", BackendRefused, "did not accept"),
    ],
)
def test_a_refusal_may_be_known_by_its_code(
    hosted: Hosted, status: int, code: str, kind: type[HandlerError], sentence: str
) -> None:
    hosted.server.script = [hosted.case.refuses(status, code)]
    fails(hosted, kind, sentence)


@every
def test_a_refusal_may_be_a_page(hosted: Hosted) -> None:
    hosted.server.script = [Reply(502, "<html>Bad gateway</html>", content_type="text/html")]
    fails(hosted, BackendUnreachable, "did not answer")


@pytest.mark.parametrize("loaded", SPEAKS_JSON, indirect=True)
def test_an_answer_that_is_no_json_is_a_failure(hosted: Hosted) -> None:
    hosted.server.script = [Reply(body="<html>")]
    fails(hosted, BackendError, "failed")


@every
def test_a_connection_that_breaks_is_unreachable(hosted: Hosted) -> None:
    hosted.server.script = [Reply(dropped=True)]
    fails(hosted, BackendUnreachable, "did not answer")
    assert len(hosted.server.requests) == 2, "one of each job: what was sent may be paid for"


@pytest.mark.parametrize("name", CASES)
def test_a_server_that_is_down_is_unreachable(name: str, control: ScratchControl) -> None:
    request = CASES[name].request(control.folder)
    with (
        served(name, control.folder, url=nobody()) as (_, stepper),
        pytest.raises(BackendUnreachable),
    ):
        run(stepper, request, control)


@pytest.mark.parametrize("name", CASES)
def test_a_silent_server_is_unreachable(name: str, control: ScratchControl) -> None:
    with served(name, control.folder, timeout_s=0.3) as (server, stepper):
        server.script = [SILENCE]
        with pytest.raises(BackendUnreachable):
            run(stepper, CASES[name].request(control.folder), control)


@every_openai
def test_a_busy_server_is_asked_again_once(hosted: Hosted) -> None:
    busy = hosted.case.refuses(429, **{"Retry-After": "0.2"})
    hosted.server.script = [busy, *hosted.case.good]
    assert isinstance(hosted.ask()[-1], Finished)
    first, second = hosted.server.times
    assert second - first >= 0.2
    assert hosted.server.requests[0] == hosted.server.requests[1]
    hosted.server.script = [busy, busy, *hosted.case.good]
    with pytest.raises(BackendRefused, match="too busy"):
        hosted.ask()
    assert len(hosted.server.requests) == 4


@every_openai
def test_a_long_wait_is_a_refusal(hosted: Hosted) -> None:
    hosted.server.script = [hosted.case.refuses(429, **{"Retry-After": "900"})]
    fails(hosted, BackendRefused, "too busy")


@pytest.mark.parametrize("loaded", CLOSES_AT_ONCE, indirect=True)
def test_a_cancel_closes_the_connection(hosted: Hosted) -> None:
    hosted.server.script = [SILENCE]
    cancel_while_it_waits(hosted.server, hosted.stepper, hosted.request, hosted.control)
    assert hosted.server.left.wait(60)
    hosted.ask_well()


@every
def test_jobs_wait_side_by_side(hosted: Hosted) -> None:
    assert hosted.stepper.slots == 4
    hosted.server.script = list(hosted.case.good) * 4
    hosted.server.company = 4
    deadline = time.monotonic() + 60
    for number in range(4):
        hosted.stepper.admit(f"job {number}", hosted.request, hosted.control)
    ended: set[str] = set()
    while len(ended) < 4:
        assert time.monotonic() < deadline, "one was not asked before another was answered"
        ended |= {job for job, event in hosted.stepper.step() if isinstance(event, Finished)}


@pytest.mark.parametrize("name", CASES)
def test_close_ends_jobs_and_threads(name: str, control: ScratchControl) -> None:
    before = set(threading.enumerate())
    with served(name, control.folder) as (server, stepper):
        server.script = [SILENCE]
        stepper.admit("job", CASES[name].request(control.folder), control)
        deadline = time.monotonic() + 60
        while not server.requests:
            assert time.monotonic() < deadline
            stepper.step()
        stepper.close()
        assert server.left.wait(60)
        assert set(threading.enumerate()) - before == {server._thread}
        stepper.close = lambda: None  # type: ignore[method-assign]


@pytest.mark.parametrize("name", OPENAI)
def test_the_key_comes_from_the_variable_that_is_named(
    name: str, control: ScratchControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "not for this server")
    monkeypatch.setenv("OWN_KEY", "sesame")
    for key, sent in (("OWN_KEY", "sesame"), ("", "none")):
        with served(name, control.folder, key=key) as (server, stepper):
            server.script = list(CASES[name].good)
            run(stepper, CASES[name].request(control.folder), control)
            assert server.headers[0]["Authorization"] == f"Bearer {sent}"


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_in_the_catalogue_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    case, url = CASES[name], nobody()
    with pytest.raises(ModelLoadFailed, match="needs `NO_SUCH_KEY`"):
        case.load(case.spec(url, "NO_SUCH_KEY"), url)
    for wrong in ({"stepz": 1}, {"slots": 0}):
        with pytest.raises(ModelLoadFailed, match=f"options of `test-{case.backend}`"):
            case.load(case.spec(url, **wrong), url)
    spec = case.spec(url).model_copy(update={"source": PathSource(path="x")})
    with pytest.raises(ModelLoadFailed, match="must have an endpoint"):
        case.load(spec, url)
