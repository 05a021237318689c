from typing import Any

import pytest

from models.catalog import Catalog, EndpointSource, HubSource, ModelSpec
from models.contracts import Modality
from tests.conftest import World
from tests.fakes import FakeWeights, fake_catalog, fake_model

HUB = HubSource(repo="some/where", revision="0" * 40)


@pytest.fixture
def catalog(monkeypatch: pytest.MonkeyPatch) -> Catalog:
    def is_installed(self: FakeWeights, spec: ModelSpec) -> bool:
        return not spec.id.startswith("absent")

    monkeypatch.setattr(FakeWeights, "is_installed", is_installed)
    return fake_catalog(
        fake_model("writer", licence="Apache-2.0", languages=("en",), description="It writes."),
        fake_model("absent-hub", source=HUB, commercial_use=False, download_mb=1900),
        fake_model("absent-path"),
        fake_model("remote", source=EndpointSource(url="https://example.org", model="m")),
        fake_model(
            "absent-remote",
            source=EndpointSource(url="https://example.org", model="m", api_key_env="SOME_KEY"),
        ),
        *(fake_model(f"long-{number}", description="d" * 3000) for number in range(12)),
        fake_model("voice", Modality.SPEECH, languages=tuple("abcdefgh")),
        fake_model("ears", Modality.TRANSCRIPTION),
        fake_model("enlarger", Modality.UPSCALING),
    )


def fields(result: Any) -> dict[str, str]:
    [embed] = result.response.embeds
    return {field.name: field.value for field in embed.fields}


async def test_a_model_is_described(world: World) -> None:
    result = await world.member.slash(world.channel, "models", kind="text")
    assert result.response.ephemeral
    shown = fields(result)["Writer ⭐ · `writer`"]
    assert "It writes." in shown
    assert "Apache-2.0, may be used commercially · 100 MiB of memory · English" in shown
    assert "✅ ready" in shown


async def test_what_is_missing_says_what_the_owner_runs(world: World) -> None:
    every: dict[str, str] = {}
    result = await world.member.slash(world.channel, "models", kind="text")
    every |= fields(result)
    for _ in range(2):
        result = await world.member.click(result.response, label="Next")
        every |= fields(result)
    assert len(every) == 17
    absent = every["Absent Hub · `absent-hub`"]
    assert "no commercial use" in absent
    assert "(1,900 MB); the owner runs `python -m bot models pull absent-hub`" in absent
    assert "config/models" in every["Absent Path · `absent-path`"]
    assert "another server" in every["Remote · `remote`"]
    assert "set `SOME_KEY`" in every["Absent Remote · `absent-remote`"]
    assert "pull" not in every["Absent Remote · `absent-remote`"]
    assert list(every)[-3:] == [
        *("Absent Hub · `absent-hub`", "Absent Path · `absent-path`"),
        "Absent Remote · `absent-remote`",
    ]


async def test_pages_turn_and_end(world: World) -> None:
    result = await world.member.slash(world.channel, "models")
    buttons = result.response.components[0]["components"]
    assert [button["disabled"] for button in buttons] == [True, False]
    titles = []
    for _ in range(5):
        [embed] = result.response.embeds
        titles.append(embed.title)
        assert len(embed) <= 6000
        assert len(embed.fields) <= 25
        result = await world.member.click(result.response, label="Next")
    [embed] = result.response.embeds
    assert embed.title == "Models for transcription"
    assert "Page 6 of 6" in embed.footer.text
    others = ["Models for upscaling", "Models for speech"]
    assert titles == ["Models for text"] * 3 + others
    buttons = result.response.components[0]["components"]
    assert [button["disabled"] for button in buttons] == [False, True]


async def test_the_star_is_what_the_channel_uses(world: World) -> None:
    await world.services.server_settings.set(
        "text.model",
        "remote",
        guild_id=world.guild.id,
        channel_id=world.channel.id,
        user_id=1,
    )
    result = await world.member.slash(world.channel, "models", kind="text")
    starred = [name for name in fields(result) if "⭐" in name]
    assert starred == ["Remote ⭐ · `remote`"]


async def test_the_buttons_go_when_nothing_listens_any_more(world: World) -> None:
    result = await world.member.slash(world.channel, "models")
    await world.env.advance_time(601)
    assert result.response.components == []


async def test_a_model_that_enlarges_speaks_no_language(world: World) -> None:
    result = await world.member.slash(world.channel, "models", kind="upscaling")
    [embed] = result.response.embeds
    assert embed.title == "Models for upscaling"
    [field] = embed.fields
    assert "MiB of memory\n✅ ready" in str(field.value)
