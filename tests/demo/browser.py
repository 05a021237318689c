"""A real browser on the pages of the demo."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import BrowserContext, async_playwright

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@asynccontextmanager
async def browser(width: int, height: int, sharpness: float = 1) -> AsyncIterator[BrowserContext]:
    """Start Chromium with windows of a size, in CSS pixels."""
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        yield await chromium.new_context(
            viewport={"width": width, "height": height}, device_scale_factor=sharpness
        )
        await chromium.close()
