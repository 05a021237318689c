"""The demo in a real browser, with real models: what a person would do first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from bot.app import App
from bot.demo.page import SidePage
from bot.demo.preview import LivePreview
from bot.demo.world import World
from tests.demo.browser import CHROMIUM
from tests.demo.browser import browser as started

SENTENCE = "The captain measured the height of the sun above the sea at noon."

PATIENCE_MS = 240_000  # the first answer may wait until weights are converted

expect.set_options(timeout=PATIENCE_MS)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(500),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]


@dataclass
class Browser:
    """Both pages of the demo, and what went wrong in them."""

    preview: Page
    side: Page
    faults: list[str]


@pytest.fixture
async def browser(live: tuple[App, World]) -> AsyncIterator[Browser]:
    app, world = live
    for key, value in (("transcription.automatic", "on"), ("text.temperature", "0")):
        await app.services.server_settings.set(
            key, value, guild_id=world.guild.id, user_id=world.member.id
        )
    preview = LivePreview(world)
    async with (
        preview,
        SidePage(world, preview) as page,
        started(1280, 860) as context,
    ):
        pages = [await context.new_page(), await context.new_page()]
        faults: list[str] = []
        for each, url in zip(pages, (preview.url, page.url), strict=True):
            each.on("pageerror", lambda error: faults.append(str(error)))
            await each.goto(url)
        yield Browser(*pages, faults)


async def type_command(page: Page, command: str, first_option: str) -> None:
    await page.get_by_placeholder("Message #workbench").click()
    await page.keyboard.type(f"/{command}")
    await page.get_by_role("option", name=f"/{command}").first.wait_for()
    await page.keyboard.press("Enter")
    await page.keyboard.type(first_option)
    await page.keyboard.press("Enter")


async def test_an_answer_streams_and_stops(browser: Browser, tmp_path: Path) -> None:
    page = browser.preview
    await type_command(page, "ask", "Write a long travel guide to Paris.")
    stop = page.get_by_role("button", name="Stop")
    await expect(page.locator("small", has_text="Writing")).to_be_visible()
    shown = await page.locator("main").inner_text()
    await expect(page.locator("main")).not_to_have_text(shown, use_inner_text=True)
    # The button moves with every edit, and a click of Playwright's waits until it stands still.
    await stop.last.dispatch_event("click")
    await expect(page.get_by_text("Stopped.")).to_be_visible()
    await expect(stop).to_have_count(0)
    await page.screenshot(path=tmp_path / "stopped.png")
    assert browser.faults == []


async def test_a_dropped_file_is_written_down(
    browser: Browser, live: tuple[App, World], tmp_path: Path
) -> None:
    _, world = live
    await world.env.act(world.member.slash(world.channel, "speak", text=SENTENCE))
    voice = await world.until(
        lambda: next((m for m in world.view.messages() if m.voice and m.files), None), 240
    )
    clip = tmp_path / "clip.ogg"
    clip.write_bytes(world.view.read(voice.files[0]))

    page = browser.side
    await page.set_input_files("#file", clip)
    await expect(page.locator("#status")).to_have_text("clip.ogg is in the channel.")
    written = page.locator(".message.bot", has_text="📝").locator("blockquote")
    await expect(written).to_contain_text("the height of the sun")

    dropped = page.locator(".message", has=page.locator("a", has_text="clip.ogg")).first
    await dropped.click(button="right", position={"x": 120, "y": 14})
    await page.get_by_role("menuitem", name="Transcribe").click()
    await expect(written).to_have_count(2)
    await page.screenshot(path=tmp_path / "dropped.png", full_page=True)
    assert browser.faults == []
