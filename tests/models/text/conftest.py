"""What tests of text backends share: specs, requests, tiny checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from models.catalog import ModelSpec, PathSource
from models.contracts import Modality
from tests.models.checkpoints import write_parrot, write_random

PARROT_LINE = ["Paris", "!", " 🦜"]
"""What parrots say; the picture takes several tokens."""


@pytest.fixture(scope="session")
def one_thread() -> None:
    """Several threads of tiny products on busy cores only wait for each other."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def spec() -> Callable[..., ModelSpec]:
    """Return a function that makes a row of the catalogue: options as keywords."""

    def make(
        *, context_tokens: int = 1024, source: Any = None, prices: Any = None, **options: Any
    ) -> ModelSpec:
        return ModelSpec(
            id="tiny",
            name="Tiny",
            modality=Modality.TEXT,
            backend="transformers",
            source=source or PathSource(path="unused"),
            licence="MIT",
            commercial_use=True,
            memory_mb=1,
            load_s=1,
            context_tokens=context_tokens,
            options=options,
            prices=prices,
        )

    return make


@pytest.fixture(scope="session")
def random_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function: family -> folder of a random checkpoint, made once."""
    made: dict[str, Path] = {}

    def get(family: str) -> Path:
        if family not in made:
            made[family] = write_random(tmp_path_factory.mktemp(family), family)
        return made[family]

    return get


@pytest.fixture(scope="session")
def parrot(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that makes a checkpoint that recites; see ``write_parrot``."""

    def make(family: str, recital: Sequence[str], **changes: Any) -> Path:
        return write_parrot(tmp_path_factory.mktemp("parrot"), family, recital, **changes)

    return make
