"""The event loop's time is virtual here: sleeping moves the clock on at once."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bot.delivery.throttle import EditThrottle
from tests.virtual_time import VirtualLoop


@pytest.fixture
def run() -> Iterator[Callable[[Any], None]]:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        yield runner.run


class _Message:
    """Records when it was edited and into what."""

    def __init__(self, takes_s: float = 0.0) -> None:
        self.state = ""
        self.seen: list[tuple[float, str]] = []
        self.takes_s = takes_s

    async def edit(self) -> None:
        shown = self.state
        await asyncio.sleep(self.takes_s)
        self.seen.append((round(asyncio.get_running_loop().time(), 3), shown))


def test_only_the_newest_state_is_shown_and_no_faster_than_the_interval(run: Any) -> None:
    async def scenario() -> None:
        throttle, message = EditThrottle(1.0), _Message()
        throttle.open(1, message.edit)
        for number in range(30):
            message.state = str(number)
            throttle.request(1, "a")
            await asyncio.sleep(0.1)
        await asyncio.sleep(5)
        times = [at for at, _ in message.seen]
        assert times == [0.0, 1.0, 2.0, 3.0]
        assert message.seen[-1][1] == "29"

    run(scenario())


def test_messages_of_one_bucket_share_it_and_take_turns(run: Any) -> None:
    async def scenario() -> None:
        throttle, one, two, other = EditThrottle(1.0), _Message(), _Message(), _Message()
        for key, message in enumerate((one, two, other)):
            throttle.open(key, message.edit)
        for _ in range(60):
            throttle.request(0, "channel")
            throttle.request(1, "channel")
            throttle.request(2, "webhook")
            await asyncio.sleep(0.1)
        assert len(one.seen) == len(two.seen) == 3
        assert len(other.seen) == 6

    run(scenario())


def test_nothing_is_shown_before_its_time(run: Any) -> None:
    async def scenario() -> None:
        throttle, message = EditThrottle(1.0), _Message()
        throttle.open(1, message.edit, after_s=0.8)
        throttle.request(1, "a")
        await asyncio.sleep(3)
        assert [at for at, _ in message.seen] == [0.8]

    run(scenario())


def test_an_old_message_is_edited_rarely_and_does_not_hold_up_others(run: Any) -> None:
    async def scenario() -> None:
        throttle, old, young = EditThrottle(1.0), _Message(), _Message()
        throttle.open(1, old.edit)
        throttle.open(2, young.edit)
        for _ in range(100):
            throttle.request(1, "a", interval_s=60.0)
            throttle.request(2, "a")
            await asyncio.sleep(0.1)
        assert len(old.seen) == 1
        assert len(young.seen) == 9

    run(scenario())


def test_finishing_waits_for_an_edit_under_way_and_lets_none_follow(run: Any) -> None:
    async def scenario() -> None:
        throttle, message = EditThrottle(1.0), _Message(takes_s=0.5)
        throttle.open(1, message.edit)
        throttle.request(1, "a")
        await asyncio.sleep(0.1)
        throttle.request(1, "a")
        await throttle.finish(1)
        assert [at for at, _ in message.seen] == [0.5]
        throttle.request(1, "a")
        await asyncio.sleep(5)
        assert len(message.seen) == 1

    run(scenario())


def test_an_edit_that_fails_stops_neither_itself_nor_others(
    run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        tries: list[float] = []

        async def broken() -> None:
            tries.append(asyncio.get_running_loop().time())
            raise RuntimeError("no")

        throttle, message = EditThrottle(1.0), _Message()
        throttle.open(1, broken)
        throttle.open(2, message.edit)
        for _ in range(2):
            throttle.request(1, "a")
            throttle.request(2, "a")
            await asyncio.sleep(3)
        assert len(tries) == len(message.seen) == 2

    run(scenario())
    assert "an edit failed" in caplog.text


def test_a_bucket_that_fell_idle_still_keeps_its_distance(run: Any) -> None:
    async def scenario() -> None:
        throttle, message = EditThrottle(1.0), _Message()
        throttle.open(1, message.edit)
        throttle.request(1, "a")
        await asyncio.sleep(0.3)
        throttle.request(1, "a")
        await asyncio.sleep(3)
        assert [at for at, _ in message.seen] == [0.0, 1.0]

    run(scenario())


def test_closing_ends_everything(run: Any) -> None:
    async def scenario() -> None:
        throttle, message = EditThrottle(1.0), _Message()
        throttle.open(1, message.edit, after_s=1.0)
        throttle.request(1, "a")
        await asyncio.sleep(0)
        await throttle.close()
        await asyncio.sleep(3)
        assert message.seen == []
        assert len(asyncio.all_tasks()) == 1

    run(scenario())
