"""Pictures and clips on the pages of the demo, in a real browser."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Page, expect

from bot.demo.page import SidePage
from bot.demo.preview import LivePreview
from bot.demo.world import World
from tests.demo.browser import CHROMIUM, browser
from tests.demo.plain_bot import PICTURE_PX
from tests.demo.test_checks import sailing

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


@pytest.fixture
async def pages(plain_world: World) -> AsyncIterator[tuple[Page, Page]]:
    """simcord's page and the one beside it, with a picture above a button in the channel."""
    world = plain_world
    preview = LivePreview(world)
    async with preview, SidePage(world, preview) as side, browser(1280, 860) as context:
        await world.env.act(world.member.slash(world.channel, "show"))
        opened = [await context.new_page(), await context.new_page()]
        for page, url in zip(opened, (preview.url, side.url), strict=True):
            await page.goto(url)
        yield opened[0], opened[1]


async def test_buttons_stand_below_a_picture_of_discords_size(pages: tuple[Page, Page]) -> None:
    page, _ = pages
    picture = page.locator(".attachment-image")
    await expect(picture).to_have_js_property("naturalWidth", PICTURE_PX)
    shown = await picture.bounding_box()
    button = await page.get_by_role("button", name="Stop").bounding_box()
    text = await page.get_by_text("A picture:").last.bounding_box()
    assert shown["height"] == pytest.approx(350)
    assert text["y"] < shown["y"] < shown["y"] + shown["height"] <= button["y"]


async def test_the_page_beside_it_shows_the_picture(pages: tuple[Page, Page]) -> None:
    _, page = pages
    picture = page.locator(".picture img")
    await expect(picture).to_have_js_property("naturalWidth", PICTURE_PX)
    button = await page.get_by_role("button", name="Stop").bounding_box()
    assert (await picture.bounding_box())["y"] < button["y"]


async def test_a_clip_keeps_its_controls(pages: tuple[Page, Page], plain_world: World) -> None:
    world, (page, _) = plain_world, pages
    clip = [("clip.mp4", sailing(9, 2))]
    await world.env.act(world.member.send(world.channel, "a clip", attachments=clip))
    video = page.locator("video")
    await expect(video).to_have_js_property("videoWidth", 64)
    shown = await video.bounding_box()
    play = await page.get_by_role("button", name="Play").bounding_box()
    reply = await page.get_by_text("a clip [").last.bounding_box()
    assert shown["height"] == pytest.approx(350)
    assert shown["y"] + shown["height"] <= play["y"] < play["y"] + play["height"] <= reply["y"]
