"""For every backend a small model that it really loads, and what to ask of it.

A case lists no expectations of its own: ``test_contract`` holds all of them to the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from models.catalog import ModelSpec, backend_entry_point
from models.contracts import (
    ChatMessage,
    Handler,
    ImageRequest,
    MediaInput,
    Request,
    SpeechRequest,
    Stepper,
    TextRequest,
    TranscriptionRequest,
    UpscalingRequest,
    VideoRequest,
    VisionRequest,
)
from tests.models import checkpoints_pictures, checkpoints_video, checkpoints_vision
from tests.models.checkpoints import write_random
from tests.models.checkpoints_letters import sung, write_wav2vec2
from tests.models.checkpoints_sound import write_kokoro, write_vits
from tests.models.checkpoints_upscaling import write_upscaler
from tests.models.control import ScratchControl, heard, media_of, result_of, spec_of
from tests.models.image.image_server import Drawn, ImageServer
from tests.models.sound_server import SoundServer, hears, speaks
from tests.models.sounds import silence, tone, write
from tests.models.text.chat_server import ChatServer, says
from tests.models.video.clip_servers import REGION, SoraServer, VeoServer, google_account

Packaged = Callable[[str], tuple[ModelSpec, str]]

SERVER = "loopback server"
"""Name of the threads that are no backend's."""

SENTENCES = "First one here. Then a second. Now the third one. And then a fourth."


@dataclass(frozen=True)
class Ground:
    """What cases are made from: a folder, a control that opens from it, real weights."""

    folder: Path
    control: ScratchControl
    packaged: Packaged

    def media(self, data: bytes, name: str, content_type: str) -> MediaInput:
        return self.control.store(data, name, content_type)


@dataclass
class Subject:
    """A loaded backend.

    Attributes:
        worker: What its entry point returned.
        request: Ends within a second, and is repeatable: seeded where that is possible.
        lengthy: Takes many steps.
        refused: Beyond what the model can do, or with a file that is none.
        unit: What its usage counts.
    """

    worker: Handler | Stepper
    request: Request
    lengthy: Request
    refused: Request
    unit: str


Case = Callable[[Ground], AbstractContextManager[Subject]]


def _load(spec: ModelSpec, location: str | Path) -> Any:
    return backend_entry_point(spec.backend).load()(spec, str(location), "cpu")


def _endpoint(url: str, key: str = "") -> dict[str, str]:
    return {"kind": "endpoint", "url": url, "model": "tiny-1", "api_key_env": key}


class _Always(list[Any]):
    """A script that gives the same answer again and again."""

    def pop(self, _: Any = 0) -> Any:
        return self[0]


@contextmanager
def _running(server: Any) -> Iterator[Any]:
    server._thread.name = SERVER
    server.start()
    try:
        yield server
    finally:
        server.stop()


# --------------------------------------------------------------------------- text


def _chat(worker: Any, context: int = 1024) -> Subject:
    def ask(text: str, **options: Any) -> TextRequest:
        return TextRequest((ChatMessage("user", text),), temperature=1.0, seed=7, **options)

    return Subject(
        worker,
        ask("Tell me of the sea.", max_new_tokens=12),
        ask("Tell me of the sea.", max_new_tokens=400),
        ask("sea " * 4 * context),
        "tokens",
    )


@contextmanager
def transformers(ground: Ground) -> Iterator[Subject]:
    folder = write_random(ground.folder / "llama", "llama")
    spec = spec_of("transformers", "text", context_tokens=1024)
    yield _chat(_load(spec, folder))


@contextmanager
def onnxruntime_genai(ground: Ground) -> Iterator[Subject]:
    spec, location = ground.packaged("smollm2-135m")
    yield _chat(_load(spec, location), spec.context_tokens)


@contextmanager
def openai(ground: Ground) -> Iterator[Subject]:
    with _running(ChatServer()) as server:
        server.script = _Always([says("The ", "sea.")])
        spec = spec_of("openai", "text", source=_endpoint(server.url), context_tokens=1024)
        yield _chat(_load(spec, f"{server.url}/v1"))


# --------------------------------------------------------------------------- pictures


def _drawing(worker: Any, ground: Ground) -> Subject:
    def ask(**options: Any) -> ImageRequest:
        size = {"width_px": 64, "height_px": 64, "seed": 7, "count": 2}
        return ImageRequest("a lighthouse", **{**size, **options})

    broken = ground.media(b"no picture", "broken.png", "image/png")
    steps = ask(num_inference_steps=100, count=4)
    return Subject(worker, ask(), steps, ask(reference=broken), "pictures")


@contextmanager
def diffusers(ground: Ground) -> Iterator[Subject]:
    folder = checkpoints_pictures.write_pipeline(ground.folder / "sd15", "sd15")
    options = {"min_pixels": 64, "num_inference_steps": 2}
    yield _drawing(_load(spec_of("diffusers", "image", options=options), folder), ground)


@contextmanager
def openai_images(ground: Ground) -> Iterator[Subject]:
    with _running(ImageServer()) as server:
        server.script = _Always([Drawn(["red", "blue"])])
        spec = spec_of("openai-images", "image", source=_endpoint(server.url))
        yield _drawing(_load(spec, f"{server.url}/v1"), ground)


@contextmanager
def transformers_upscaler(ground: Ground) -> Iterator[Subject]:
    def larger(width_px: int, height_px: int) -> UpscalingRequest:
        drawing = checkpoints_vision.drawing("red", "circle").resize((width_px, height_px))
        drawing.save(ground.folder / f"{width_px}.png")
        return UpscalingRequest(media_of(ground.folder / f"{width_px}.png", "image/png"))

    folder = write_upscaler(ground.folder / "swin2sr")
    options = {"tile_px": 48, "overlap_px": 8}
    spec = spec_of("transformers-upscaler", "upscaling", options=options)
    yield Subject(
        _load(spec, folder), larger(64, 48), larger(640, 480), larger(2200, 8), "pictures"
    )


def _looking(worker: Any, ground: Ground, picture: Any, task: str, other: str) -> Subject:
    picture.save(ground.folder / "looked-at.png")
    media = media_of(ground.folder / "looked-at.png", "image/png")
    refused = VisionRequest((media,), other, question="Why?" if other == "question" else "")
    return Subject(
        worker,
        VisionRequest((media, media), task),
        VisionRequest((media,) * 10, task),
        refused,
        "pictures",
    )


@contextmanager
def transformers_vision(ground: Ground) -> Iterator[Subject]:
    folder = checkpoints_vision.write_captioner(ground.folder / "blip")
    spec = spec_of("transformers-vision", "vision", capabilities=["caption"])
    picture = checkpoints_vision.drawing("red", "circle")
    yield _looking(_load(spec, folder), ground, picture, "caption", "question")


@contextmanager
def rapidocr(ground: Ground) -> Iterator[Subject]:
    spec, location = ground.packaged("rapidocr")
    picture = checkpoints_vision.written(["First line of all", "and then another"])
    yield _looking(_load(spec, location), ground, picture, "ocr", "caption")


# --------------------------------------------------------------------------- clips


def _filming(worker: Any, ground: Ground, side_px: int, **options: Any) -> Subject:
    def ask(**more: Any) -> VideoRequest:
        size = {"width_px": side_px, "height_px": side_px, "seconds": 1.125, "seed": 7}
        return VideoRequest("a gate creaks open", **{**size, **options, **more})

    broken = ground.media(b"no picture", "broken.png", "image/png")
    lengthy = ask(num_inference_steps=100)
    return Subject(worker, ask(), lengthy, ask(first_frame=broken), "frames")


@contextmanager
def diffusers_video(ground: Ground) -> Iterator[Subject]:
    folder = checkpoints_video.write_pipeline(ground.folder / "ltx", "ltx")
    options = {"min_pixels": 64, "num_inference_steps": 2, "fps": 8}
    spec = spec_of("diffusers-video", "video", options=options)
    yield _filming(_load(spec, folder), ground, 64)


@contextmanager
def openai_video(ground: Ground) -> Iterator[Subject]:
    with _running(SoraServer()) as server:
        options = {"poll_s": 0.01, "seconds": [4, 8], "sizes": ["1280x720", "720x1280"]}
        url = f"{server.url}/v1"
        spec = spec_of("openai-video", "video", source=_endpoint(url), options=options)
        yield _filming(_load(spec, url), ground, 720, width_px=1280, seconds=4)


@contextmanager
def google_video(ground: Ground) -> Iterator[Subject]:
    with _running(VeoServer()) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("A_KEY_FILE", str(google_account(ground.folder, server)))
        options = {"poll_s": 0.01, "location": REGION, "seconds": [4, 6]}
        source = _endpoint(server.url, "A_KEY_FILE")
        spec = spec_of("google-video", "video", source=source, options=options)
        yield _filming(_load(spec, server.url), ground, 720, width_px=1280, seconds=4)


# --------------------------------------------------------------------------- sound


def _speaking(worker: Any) -> Subject:
    return Subject(
        worker,
        SpeechRequest("Hello there.", seed=7),
        SpeechRequest(SENTENCES, seed=7),
        SpeechRequest("Hello there.", voice="nobody"),
        "characters",
    )


@contextmanager
def coqui(ground: Ground) -> Iterator[Subject]:
    file = write_vits(ground.folder / "vits")
    yield _speaking(_load(spec_of("coqui", "speech", languages=["en"]), file))


@contextmanager
def hibari(ground: Ground) -> Iterator[Subject]:
    yield _speaking(_load(*ground.packaged("hibari")))


@contextmanager
def kokoro(ground: Ground) -> Iterator[Subject]:
    folder = write_kokoro(ground.folder / "kokoro", ["af_heart"])
    options = {"phonemes_dir": ground.packaged("hibari")[1]}
    spec = spec_of("kokoro", "speech", voices=["af_heart"], options=options)
    yield _speaking(_load(spec, folder))


@contextmanager
def openai_speech(ground: Ground) -> Iterator[Subject]:
    with _running(SoundServer()) as server:
        server.script = _Always([speaks(0.5)])
        source = _endpoint(server.url)
        spec = spec_of("openai-speech", "speech", source=source, voices=["coral"])
        yield _speaking(_load(spec, f"{server.url}/v1"))


def _listening(worker: Any, ground: Ground, samples: Any) -> Subject:
    import numpy as np

    once = write(ground.folder / "once.wav", samples)
    pause = silence(1.5)
    often = write(ground.folder / "often.wav", np.concatenate([samples, pause] * 6))
    broken = ground.media(b"no sound", "broken.ogg", "audio/ogg")
    return Subject(
        worker,
        TranscriptionRequest(media_of(once, "audio/wav")),
        TranscriptionRequest(media_of(often, "audio/wav")),
        TranscriptionRequest(broken),
        "seconds",
    )


@contextmanager
def faster_whisper(ground: Ground) -> Iterator[Subject]:
    hibari_ = _load(*ground.packaged("hibari"))
    spoken = hibari_.run(SpeechRequest("The museum opens at nine."), ground.control)
    samples = heard(ground.control, result_of(spoken))
    hibari_.close()
    yield _listening(_load(*ground.packaged("whisper-tiny-en")), ground, samples)


@contextmanager
def wav2vec2(ground: Ground) -> Iterator[Subject]:
    folder = write_wav2vec2(ground.folder / "wav2vec2")
    options = {"window_s": 10.0}
    spec = spec_of("wav2vec2", "transcription", languages=["en"], options=options)
    yield _listening(_load(spec, folder), ground, sung("HI OHO"))


@contextmanager
def openai_transcription(ground: Ground) -> Iterator[Subject]:
    with _running(SoundServer()) as server:
        server.script = _Always([hears("Good morning.")])
        options = {"window_s": 7.0}
        source = _endpoint(server.url)
        spec = spec_of("openai-transcription", "transcription", source=source, options=options)
        yield _listening(_load(spec, f"{server.url}/v1"), ground, tone(4.0))


CASES: dict[str, Case] = {
    make.__name__.replace("_", "-"): make
    for make in (
        transformers,
        onnxruntime_genai,
        openai,
        diffusers,
        openai_images,
        transformers_upscaler,
        transformers_vision,
        rapidocr,
        diffusers_video,
        openai_video,
        google_video,
        coqui,
        hibari,
        kokoro,
        openai_speech,
        faster_whisper,
        wav2vec2,
        openai_transcription,
    )
}
