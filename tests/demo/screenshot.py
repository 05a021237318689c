"""Takes ``docs/demo.png``: a bit of everything in the channel, in a real browser.

Run it with ``python -m tests.demo.screenshot docs/demo.png``. It needs Chromium and the weights of
the embedded profile. What has no model there is left out of the picture.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

from playwright.async_api import Page, expect

from bot.app import Substitutes, open_app
from bot.demo import tour
from bot.demo.member import Member
from bot.demo.preview import LivePreview
from bot.demo.world import World, download, open_world
from bot.settings import Settings, read_settings
from bot.views.ids import VERSION
from models.contracts import Modality
from tests.demo.browser import browser

WIDTH_PX, SHARPNESS = 1080, 1.5
PATIENCE_MS = 240_000
A_LINE_S = 1.0
"""By then a line or two of the last answer is written."""

LONG_ANSWER = "Write a long travel guide to Paris."


async def act(world: World, defaults: set[Modality]) -> None:
    """Ask for one of each, as the tour does, but for what a picture of it shows badly."""
    ada = Member(world)
    if Modality.IMAGE in defaults:
        drawn = await ada.command("imagine", prompt=tour.PICTURE, seed=tour.SEED)
        if describe := drawn.button(f"{VERSION}:pic:describe:"):
            await ada.press(drawn, describe)
    if Modality.VIDEO in defaults:
        await ada.command("video", prompt=tour.CLIP, seed=tour.SEED)
    if Modality.IMAGE not in defaults:
        await ada.command("ask", prompt=tour.QUESTION, max_tokens=160)
    await ada.command("speak", text=tour.SENTENCE)
    spoken = await ada.voice_message()
    await ada.drop("memo.ogg", ada.file(spoken))
    await world.env.act(world.member.slash(world.channel, "ask", prompt=LONG_ANSWER))


async def shoot(page: Page, file: Path) -> None:
    """Make the window as high as the channel, while the last answer is being written."""
    await page.get_by_role("button", name="Messages", exact=True).click()  # fold the list away
    await page.mouse.click(WIDTH_PX - 20, 75)  # the channel's head, where nothing lights up
    await expect(page.locator("small", has_text="Writing")).to_be_visible(timeout=PATIENCE_MS)
    await asyncio.sleep(A_LINE_S)
    hidden = "(e) => e.scrollHeight - e.clientHeight"
    height = 400 + await page.locator(".channel-timeline").evaluate(hidden)
    await page.set_viewport_size({"width": WIDTH_PX, "height": height})
    await page.screenshot(path=file)


async def take(settings: Settings, file: Path) -> None:
    async with (
        open_app(settings, Substitutes(download=download)) as app,
        open_world(app.bot) as world,
        LivePreview(world) as preview,
        browser(WIDTH_PX, 400, SHARPNESS) as context,
    ):
        for key, value in (("transcription.automatic", "on"), ("text.temperature", "0")):
            await app.services.server_settings.set(
                key, value, guild_id=world.guild.id, user_id=world.member.id
            )
        page = await context.new_page()
        await page.goto(preview.url)
        await act(world, set(app.services.admission.profile.defaults))
        await shoot(page, file)


def main() -> None:
    parser = argparse.ArgumentParser(description="Take the picture of the demo.")
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    settings = read_settings()
    with tempfile.TemporaryDirectory(prefix="sextant-") as folder:
        own = {"data_dir": Path(folder), "weights_dir": settings.models_dir, "database_url": ""}
        asyncio.run(take(settings.model_copy(update=own), options.file))


if __name__ == "__main__":
    main()
