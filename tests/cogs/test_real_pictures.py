"""/imagine and /video with the real backends, on tiny checkpoints, as a member meets them."""

from __future__ import annotations

import io
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import av
import discord
import pytest
from PIL import Image

from bot.delivery import sender
from bot.engine.inline import InlinePort
from bot.engine.worker import installed_backend
from bot.settings import Settings
from models.catalog import Catalog, ModelSpec
from tests.conftest import Run, World
from tests.fake_pictures import picture
from tests.fakes import FakeWeights, fake_catalog, fake_model
from tests.models import checkpoints_pictures, checkpoints_video
from tests.models.checkpoints_upscaling import write_upscaler
from tests.views.test_buttons import labels

DRAWS = {"seed", "steps", "guidance", "negative_prompt"}
TINY = {"min_pixels": 64, "num_inference_steps": 3, "preview_s": 0}


class RealStage:
    """Workers inside the event loop that run real backends; each step takes ``step_s``."""

    def __init__(self, spool: Path) -> None:
        self._spool = spool
        self.step_s = 0.0

    def start_worker(self, lane: str) -> InlinePort:
        return InlinePort(installed_backend, self._spool, lambda: self.step_s)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The checkpoints, which are not worth more than one thread."""
    import torch

    folder, threads = tmp_path_factory.mktemp("checkpoints"), torch.get_num_threads()
    torch.set_num_threads(1)
    checkpoints_pictures.write_pipeline(folder / "painter", "sd15")
    checkpoints_video.write_pipeline(folder / "camera", "ltx")
    write_upscaler(folder / "enlarger")
    yield folder
    torch.set_num_threads(threads)


@pytest.fixture
def catalog() -> Catalog:
    drawing = TINY | {"side_px": 64}
    return fake_catalog(
        fake_model(
            "painter",
            "image",
            backend="diffusers",
            options=drawing,
            capabilities=DRAWS | {"reference"},
        ),
        fake_model(
            "camera",
            "video",
            backend="diffusers-video",
            options=TINY | {"fps": 8},
            capabilities=DRAWS | {"first_frame"},
        ),
        fake_model("enlarger", "upscaling", backend="transformers-upscaler"),
    )


@pytest.fixture
async def run(
    settings: Settings, catalog: Catalog, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Run]:
    def locate(_: FakeWeights, spec: ModelSpec) -> str:
        return str(folders / spec.id)

    monkeypatch.setattr(FakeWeights, "locate", locate)
    run = Run(settings, catalog)
    run.stage = RealStage(settings.spool_dir)  # type: ignore[assignment]
    await run.open()
    yield run
    await run.close()


async def imagine(world: World, **options: Any) -> discord.Message:
    wishes = {"prompt": "a red door", "size": "64x64", "seed": 7, **options}
    await world.member.slash(world.channel, "imagine", **wishes)
    return world.messages()[-1]


async def files_of(message: discord.Message) -> list[bytes]:
    return [await file.read() for file in message.attachments]


def said_in(data: bytes) -> dict[str, str]:
    with Image.open(io.BytesIO(data)) as image:
        return dict(image.text)  # type: ignore[attr-defined]


# --------------------------------------------------------------------------- pictures


async def test_a_recipe_is_in_every_picture_and_repeats_it(world: World) -> None:
    answer = await imagine(world, count=4, negative_prompt="blur", steps=4, guidance=3.0)
    files = await files_of(answer)
    assert len(set(files)) == 4
    assert [file.description for file in answer.attachments] == [
        "AI-generated picture: a red door"
    ] * 4
    assert "`painter` · 64 × 64 · 4 steps · guidance 3 · seeds 7, 8, 9, 10" in answer.content
    for number, data in enumerate(files):
        said = said_in(data)
        assert (said["model"], said["seed"], said["licence"]) == ("painter", str(7 + number), "MIT")
        recipe = json.loads(said["recipe"])
        assert (recipe["num_inference_steps"], recipe["guidance_scale"]) == (4, 3.0)
    # What the third says of itself makes the third again.
    said = said_in(files[2])
    recipe = json.loads(said["recipe"])
    again = await imagine(
        world,
        seed=int(said["seed"]),
        size=f"{recipe['width']}x{recipe['height']}",
        steps=recipe["num_inference_steps"],
        guidance=recipe["guidance_scale"],
        negative_prompt="blur",
    )
    assert await files_of(again) == [files[2]]


async def test_it_shows_how_far_it_is_and_stops_within_a_step(world: World) -> None:
    world.run.stage.step_s = 0.5  # type: ignore[attr-defined]
    anchor = await imagine(world, steps=100)
    await world.env.advance_time(12)
    [anchor] = world.messages()
    assert re.search(r"⚙️ step \d+ of 101 `█+░+` \d+% · about .* left$", anchor.content)
    [preview] = anchor.attachments
    with Image.open(io.BytesIO(await preview.read())) as look:
        assert (look.format, look.size) == ("JPEG", (64, 64))
    assert preview.description == "What it looks like so far"
    assert labels(anchor) == ["Stop"]
    await world.member.click(anchor, label="Stop")
    await world.env.advance_time(2)
    [stopped] = world.messages()
    assert stopped.content == "> a red door\n⏹️ Stopped."
    assert labels(stopped) == ["Try again", "Delete"]
    assert world.services.engine.jobs() == []
    assert list(world.services.spool.folder.iterdir()) == []


async def test_what_the_model_cannot_do_is_said(world: World) -> None:
    answer = await imagine(
        world, prompt="a red door " + "and a gate " * 20 + "by the sea", size="101x67"
    )
    assert "-# Painter does not make 101 × 67 pixels, so this is 104 × 64." in answer.content
    assert "-# This prompt is longer than Painter reads. Left out at its end: “" in answer.content
    assert "by the sea”" in answer.content


async def test_lacking_memory_is_made_up_for_and_said(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers import AutoencoderKL

    decode, failures = AutoencoderKL.decode, [MemoryError(), MemoryError()]

    def scripted(vae: Any, *arguments: Any, **options: Any) -> Any:
        if failures:
            raise failures.pop()
        return decode(vae, *arguments, **options)

    monkeypatch.setattr(AutoencoderKL, "decode", scripted)
    answer = await imagine(world, size="256x128")
    assert "so this is drawn in a slower way" in answer.content
    assert "so this is smaller: 128 × 64." in answer.content
    assert "`painter` · 128 × 64" in answer.content
    monkeypatch.setattr(
        AutoencoderKL, "decode", lambda *_, **__: (_ for _ in ()).throw(MemoryError)
    )
    answer = await imagine(world)
    assert "⚠️ The machine ran out of memory for this. Try something shorter" in answer.content


async def test_a_reference_is_started_from_again_and_again(world: World) -> None:
    answer = await imagine(world, reference=("me.png", picture("blue", (64, 64))), strength=0.7)
    assert "If the reference shows a person" in answer.content
    [first] = await files_of(answer)
    recipe = json.loads(said_in(first)["recipe"])
    assert (recipe["strength"], len(recipe["reference_sha256"])) == (0.7, 64)
    form = await world.member.click(answer, label="Edit prompt")
    await world.member.submit_modal(form, {"prompt": "a red door", "negative": ""})
    assert await files_of(world.messages()[-1]) == [first]
    await world.member.click(answer, label="Again")
    [other] = await files_of(world.messages()[-1])
    assert other != first
    assert json.loads(said_in(other)["recipe"]) == recipe


async def test_what_is_too_large_to_be_sent_is_made_to_fit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "upload_limit", lambda _channel: 9_000)
    answer = await imagine(world, size="128x128")
    [file] = answer.attachments
    assert file.filename == "picture-7.jpg"
    [data] = await files_of(answer)
    assert len(data) <= 9_000
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "JPEG"
        assert b"seed: 7" in image.info["comment"]


async def test_a_model_enlarges_it_and_says_so_in_the_file(world: World) -> None:
    answer = await imagine(world)
    await world.member.click(answer, label="Upscale")
    larger = world.messages()[-1]
    assert larger.content == "🔍 `enlarger` · 64 × 64 → 128 × 128"
    [file] = larger.attachments
    assert (file.filename, file.description) == (
        "picture-7-x2.png",
        "AI-generated picture: a red door",
    )
    said = said_in(await file.read())
    assert (said["model"], said["seed"], said["upscaler"]) == ("painter", "7", "enlarger")
    assert json.loads(said["recipe"])["upscaling"]["from"] == "64x64"


# --------------------------------------------------------------------------- clips


async def test_a_clip_plays_and_says_what_was_rounded(world: World) -> None:
    world.run.stage.step_s = 0.5  # type: ignore[attr-defined]
    options = {"prompt": "a gate creaks open", "size": "70x64", "seconds": 1.0, "seed": 3}
    await world.member.slash(world.channel, "video", **options)
    await world.env.advance_time(5)
    [anchor] = world.messages()
    assert anchor.content.startswith("⚙️ step 1 of 3 `")
    assert anchor.attachments[0].filename == "preview.jpg"
    await world.env.advance_time(30)
    [answer] = world.messages()
    [file] = answer.attachments
    assert file.filename == "clip-3.mp4"
    assert file.description == "AI-generated clip: a gate creaks open"
    assert "-# Camera does not make 70 × 64 pixels, so this is 64 × 64." in answer.content
    assert "-# Camera does not make 1 seconds, so this is 1.12 seconds long." in answer.content
    with av.open(io.BytesIO(await file.read())) as clip:
        [stream] = clip.streams.video
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert len(list(clip.decode(video=0))) == 9


async def test_a_clip_begins_with_a_picture_again(world: World) -> None:
    first = ("me.png", picture("blue", (64, 64)))
    options = {"prompt": "it opens", "size": "64x64", "seconds": 1.125, "seed": 3}
    await world.member.slash(world.channel, "video", first_frame=first, **options)
    answer = world.messages()[-1]
    assert "If the reference shows a person" in answer.content
    form = await world.member.click(answer, label="Edit prompt")
    await world.member.submit_modal(form, {"prompt": "it opens", "negative": ""})
    assert await files_of(world.messages()[-1]) == await files_of(answer)
