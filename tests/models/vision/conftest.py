"""What tests of vision backends share: specs, pictures in files, tiny checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from models.catalog import ModelSpec, PathSource
from models.contracts import MediaInput, Modality
from tests.models import checkpoints_talkers, checkpoints_vision
from tests.models.control import ScratchControl, media_of

if TYPE_CHECKING:
    from PIL import Image

MakeSpec = Callable[..., ModelSpec]
MakeMedia = Callable[..., MediaInput]
Checkpoint = Callable[[str], Path]


@pytest.fixture
def spec() -> MakeSpec:
    """Return a function that makes a row of the catalogue: tasks in order, options as keywords."""

    def make(*capabilities: str, languages: tuple[str, ...] = (), **options: Any) -> ModelSpec:
        return ModelSpec(
            id="tiny",
            name="Tiny",
            modality=Modality.VISION,
            backend="transformers-vision",
            source=PathSource(path="unused"),
            licence="MIT",
            commercial_use=True,
            memory_mb=1,
            load_s=1,
            languages=languages,
            capabilities=frozenset(capabilities),
            options=options,
        )

    return make


@pytest.fixture
def media(control: ScratchControl) -> MakeMedia:
    """Return a function that puts a picture where ``control`` opens it."""
    count = 0

    def put(picture: Image.Image | bytes) -> MediaInput:
        nonlocal count
        count += 1
        file = control.folder / f"picture-{count}.png"
        if isinstance(picture, bytes):
            file.write_bytes(picture)
        else:
            picture.save(file)
        return media_of(file, "image/png")

    return put


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Return a function: what to write, by the name of its function -> its folder, made once."""
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            made[name] = getattr(checkpoints_vision, f"write_{name}")(folder)
        return made[name]

    return get


@pytest.fixture(scope="session")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function: family, recital -> folder of a model that talks, made once."""
    made: dict[tuple[str, ...], Path] = {}

    def get(family: str, *recital: str) -> Path:
        key = (family, *recital)
        if key not in made:
            folder = tmp_path_factory.mktemp(family)
            made[key] = checkpoints_talkers.write_talker(folder, family, recital or None)
        return made[key]

    return get


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Several threads collapse on a busy machine."""
    import torch

    torch.set_num_threads(1)
