"""For every backend that asks somebody else's server: the server, and what to ask of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from models.catalog import ModelSpec, backend_entry_point
from models.contracts import (
    ChatMessage,
    ImageRequest,
    Modality,
    Request,
    SpeechRequest,
    TextRequest,
    TranscriptionRequest,
    VideoRequest,
)
from models.tasks import TaskStepper
from tests.models.control import media_of, spec_of
from tests.models.image.image_server import Drawn, ImageServer
from tests.models.loopback import ModelServer, Reply, refuses
from tests.models.sound_server import SoundServer, hears, speaks
from tests.models.sounds import tone, write
from tests.models.text.chat_server import ChatServer, says
from tests.models.video.clip_servers import (
    REGION,
    SoraServer,
    VeoServer,
    google_account,
    google_refuses,
)

KEY_FILE = "A_KEY_FILE"


@dataclass(frozen=True)
class Case:
    """A backend with a server that it asks.

    Attributes:
        good: What a server's script says for a job that ends well.
        prices: What the server charges.
        most: What one call counts with from the moment at which it is sent, in micro-dollars.
        refuses: Makes a refusal of a status, a code, a message and headers.
    """

    backend: str
    modality: Modality
    make_server: Callable[[], ModelServer]
    good: Sequence[Any]
    prices: dict[str, float]
    most: int
    refuses: Callable[..., Reply] = refuses
    options: dict[str, Any] = field(default_factory=dict)

    def request(self, folder: Path) -> Request:
        """Return what takes one call; it may need a file in a folder."""
        match self.modality:
            case Modality.TEXT:
                return TextRequest((ChatMessage("user", "Hello there."),), max_new_tokens=9)
            case Modality.IMAGE:
                return ImageRequest("gate")
            case Modality.VIDEO:
                return VideoRequest("gate", width_px=1280, height_px=720)
            case Modality.SPEECH:
                return SpeechRequest("Hello there.")
            case _:
                return TranscriptionRequest(media_of(write(folder / "talk.wav", tone(2.0))))

    def spec(self, url: str, key: str = "", prices: Any = None, **options: Any) -> ModelSpec:
        """Return a row of the catalogue."""
        return spec_of(
            self.backend,
            self.modality,
            source={"kind": "endpoint", "url": url, "model": "m", "api_key_env": key},
            voices=("coral",) if self.modality is Modality.SPEECH else (),
            prices=prices,
            options={**self.options, **options},
        )

    def load(self, spec: ModelSpec, url: str) -> TaskStepper:
        stepper: TaskStepper = backend_entry_point(self.backend).load()(spec, url, "cpu")
        return stepper


OPENAI = {
    "text": Case(
        "openai",
        Modality.TEXT,
        ChatServer,
        [says("Hi", " there")],
        {"text_input": 2, "output": 10},
        2 * (len("Hello there.") // 4 + 4),
    ),
    "image": Case(
        "openai-images",
        Modality.IMAGE,
        ImageServer,
        [Drawn()],
        {"picture": 0.11},
        110_000,
        options={"partial_images": 0},
    ),
    "video": Case(
        "openai-video",
        Modality.VIDEO,
        SoraServer,
        [],
        {"second": 0.1},
        400_000,
        options={"poll_s": 0.01},
    ),
    "speech": Case(
        "openai-speech", Modality.SPEECH, SoundServer, [speaks()], {"minute": 0.6}, 30_000
    ),
    "transcription": Case(
        "openai-transcription",
        Modality.TRANSCRIPTION,
        SoundServer,
        [hears("Good morning.")],
        {"minute": 0.6},
        20_000,
    ),
}
CASES = OPENAI | {
    "google-video": Case(
        "google-video",
        Modality.VIDEO,
        VeoServer,
        [],
        {"second": 0.4},
        1_600_000,
        google_refuses,
        {"poll_s": 0.01, "location": REGION},
    ),
}


@contextmanager
def served(
    name: str, folder: Path, *, prices: Any = None, url: str = "", key: str = "", **options: Any
) -> Iterator[tuple[Any, TaskStepper]]:
    """Give a server and the backend that asks it.

    Args:
        name: Of the case.
        folder: For the key file that Google wants.
        prices: What the catalogue says of them.
        url: Where the backend asks instead.
        key: The variable with the key.
        options: More of the backend's.
    """
    case = CASES[name]
    server = case.make_server()
    server.start()
    address = url or server.url
    with pytest.MonkeyPatch.context() as patch:
        if isinstance(server, VeoServer):
            key = KEY_FILE
            patch.setenv(KEY_FILE, str(google_account(folder, server)))
        else:
            address += "/v1"
        stepper = case.load(case.spec(address, key, prices, **options), address)
        try:
            yield server, stepper
        finally:
            stepper.close()
            server.stop()
