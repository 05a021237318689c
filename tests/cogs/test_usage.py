import pytest

from models.catalog import Catalog
from models.contracts import Modality
from tests.cogs.people import OGG
from tests.conftest import World
from tests.fakes import fake_catalog, fake_model


@pytest.fixture
def catalog() -> Catalog:
    return fake_catalog(
        fake_model("writer"),
        fake_model("voice", Modality.SPEECH),
        fake_model("ears", Modality.TRANSCRIPTION),
    )


async def _usage(world: World, person: object) -> dict[str, str]:
    result = await person.slash(world.channel, "usage")  # type: ignore[attr-defined]
    assert result.response.ephemeral
    [embed] = result.response.embeds
    return {field.name: field.value for field in embed.fields}


async def test_own_figures_are_shown_by_modality_and_period(world: World) -> None:
    await world.member.slash(world.channel, "ask", prompt="one two three four")
    await world.member.slash(world.channel, "ask", prompt="five")
    await world.member.slash(world.channel, "speak", text="x" * 1234)
    await world.member.slash(world.channel, "transcribe", file=("talk.ogg", OGG))
    await world.stranger.slash(world.channel, "ask", prompt="not yours")
    fields = await _usage(world, world.member)
    assert list(fields) == ["The last 24 hours", "The last 30 days", "The last 365 days"]
    for text in fields.values():
        assert "**Text**: 2 jobs · 5 tokens" in text
        assert "**Speech**: 1 job · 1,234 characters" in text
        assert "**Transcription**: 1 job · 3.0 s of sound" in text


async def test_nothing_used_is_said(world: World) -> None:
    await world.stranger.slash(world.channel, "ask", prompt="not yours")
    assert set((await _usage(world, world.member)).values()) == {"Nothing."}


async def test_a_failed_job_counts_as_a_job_without_units(world: World) -> None:
    await world.member.slash(world.channel, "ask", prompt="!refuse not today")
    fields = await _usage(world, world.member)
    assert "**Text**: 1 job · computed" in fields["The last 24 hours"]
