"""The tour's own judgement: what has no model is left out, and what is wrong fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from bot.app import Substitutes, open_app
from bot.demo import tour as tour_module
from bot.demo.checks import StepFailed
from bot.demo.tour import State, Step, Tour
from bot.demo.world import download, open_world
from bot.settings import Settings
from models.catalog import Catalog, EndpointSource
from models.contracts import Modality
from tests.fakes import FakeWeights, fake_catalog, fake_model
from tests.scripted import Stage

Open = Callable[[Catalog], AbstractAsyncContextManager[Tour]]

ABILITIES = {Modality.VISION: ("caption", "ocr"), Modality.IMAGE: ("seed",)}


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """Opens a tour of the real bot with fake models, in a simulated Discord in real time."""

    @asynccontextmanager
    async def opened(catalog: Catalog) -> AsyncIterator[Tour]:
        settings = Settings(data_dir=tmp_path / "data")
        substitutes = Substitutes(
            start_worker=Stage(settings.spool_dir).start_worker,
            download=download,
            catalog=catalog,
            weights=FakeWeights(),
        )
        async with open_app(settings, substitutes) as app, open_world(app.bot) as world:
            yield Tour(world, app.services, lambda step: None)

    return opened


def fakes(*modalities: Modality, **fields: object) -> Catalog:
    return fake_catalog(
        *(
            fake_model(
                f"fake-{modality}", modality, capabilities=ABILITIES.get(modality, ()), **fields
            )
            for modality in modalities
        )
    )


def told(steps: list[Step], state: State) -> dict[str, str]:
    return {step.command: step.outcome for step in steps if step.state is state}


async def test_what_does_not_show_what_was_asked_for_fails(opened: Open) -> None:
    async with opened(fakes(*Modality)) as tour:
        steps = await tour.play()
    failed = told(steps, State.FAILED)
    assert failed.pop("/ask").startswith("the answer does not name Paris")
    assert failed.pop("/describe task:ocr").startswith("read ")
    assert failed.pop("/speak")
    assert failed == {
        "/imagine": "the picture is all but one colour",
        "(Describe pressed)": "there is no picture to describe",
        "/video": "nothing moves in the clip",
        "/describe task:caption": "there is no clip to take a frame of",
        "(a file dropped)": "there is no voice message to drop",
    }
    assert {step.command: step.model for step in steps}["/imagine"] == "fake-image"


def test_a_description_has_to_name_what_was_asked_for() -> None:
    notes = "-# This model only knows red boats."
    said = tour_module._what_was_asked_for(f"👁️ A small red boat on the sea\n{notes}")
    assert said == "“A small red boat on the sea”"
    with pytest.raises(StepFailed, match=r"described as 'I do not know this kind of picture\.'"):
        tour_module._what_was_asked_for(f"👁️ I do not know this kind of picture.\n{notes}")


async def test_what_has_no_model_is_left_out(opened: Open) -> None:
    async with opened(fakes(Modality.IMAGE)) as tour:
        steps = await tour.play()
    assert told(steps, State.DONE).keys() == {"/config set transcription.automatic on"}
    assert told(steps, State.FAILED).keys() == {"/imagine"}
    assert told(steps, State.LEFT_OUT) == {
        "/ask": "no model of the profile `embedded` answers questions",
        "(Describe pressed)": "no model of the profile `embedded` describes pictures",
        "/video": "no model of the profile `embedded` makes clips",
        "/speak": "no model of the profile `embedded` speaks",
        "/describe task:ocr": "no model of the profile `embedded` reads pictures",
    }


async def test_what_costs_money_is_left_out(opened: Open) -> None:
    hosted = EndpointSource(url="https://models.invalid", model="any")
    async with opened(fakes(Modality.IMAGE, Modality.VIDEO, source=hosted)) as tour:
        steps = await tour.play()
    left_out = told(steps, State.LEFT_OUT)
    assert left_out["/imagine"] == "Fake Image costs money each time"
    assert left_out["/video"] == "Fake Video costs money each time"
