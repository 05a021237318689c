"""Recipes are kept for their member, for a while, once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bot.db.recipes import RecipeRepository
from bot.db.session import Database
from bot.engine.job import Requester
from bot.engine.spool import Spool
from bot.services.kept_pictures import KeptPictures
from bot.services.recipes import Recipe, RecipeService
from models.contracts import (
    ChatMessage,
    MediaInput,
    SpeechRequest,
    TextRequest,
    TranscriptionRequest,
)
from models.errors import InvalidRequest
from tests.db.rows import on_both

pytestmark = on_both

TEXT = TextRequest(messages=(ChatMessage("user", "blue"),), seed=3)


@pytest.fixture
def pictures(tmp_path: Path) -> KeptPictures:
    return KeptPictures(tmp_path / "kept", Spool(tmp_path), days=1, mb_per_member=1)


@pytest.fixture
def service(database: Database, pictures: KeptPictures) -> RecipeService:
    return RecipeService(RecipeRepository(database), pictures, days=30)


def recipe(
    recipe_id: str, user_id: int = 1, request: TextRequest | SpeechRequest = TEXT, **shown: object
) -> Recipe:
    return Recipe(recipe_id, Requester(user_id, 2, 3), "fake", request, dict(shown))


@pytest.mark.parametrize("request_", [TEXT, SpeechRequest(text="hello", voice="a", speed=1.5)])
async def test_a_recipe_comes_back_as_it_was(
    service: RecipeService, request_: TextRequest | SpeechRequest
) -> None:
    kept = recipe("a" * 16, request=request_, notice=True, notes=["x"])
    await service.save(kept)
    assert await service.load("a" * 16) == kept


async def test_what_was_never_kept_is_not_there(service: RecipeService) -> None:
    assert await service.load("b" * 16) is None


async def test_the_same_submission_leaves_one_recipe(
    service: RecipeService, database: Database
) -> None:
    first, second = service.id_for(TEXT, "1:ask"), service.id_for(TEXT, "1:ask")
    assert first == second
    assert service.id_for(TEXT, "1:again") != first
    assert first
    await service.save(recipe(first))
    await service.save(recipe(first))
    assert len(await service.of_member(1)) == 1


def test_what_reads_a_file_has_no_recipe(service: RecipeService) -> None:
    media = MediaInput("a" * 32, "a.ogg", "audio/ogg", 1, "b" * 64)
    assert service.id_for(TranscriptionRequest(media=media), "1:transcribe") is None


async def test_a_recipe_expires(
    database: Database, pictures: KeptPictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = RecipeService(RecipeRepository(database), pictures, days=1)
    await service.save(recipe("a" * 16))
    monkeypatch.setattr("bot.services.recipes.time.time", lambda: 2e9 + 86_400)
    assert await service.load("a" * 16) is None
    assert await service.delete_expired() == 1
    assert await service.of_member(1) == []


async def test_a_member_is_forgotten_and_others_are_not(service: RecipeService) -> None:
    await service.save(recipe("a" * 16, user_id=1))
    await service.save(recipe("b" * 16, user_id=2))
    assert await service.delete_member(1) == 1
    assert await service.load("a" * 16) is None
    assert await service.load("b" * 16) is not None


async def test_recipes_of_a_conversation_go_with_it(service: RecipeService) -> None:
    await service.save(recipe("a" * 16, conversation=10))
    await service.save(recipe("b" * 16, conversation=11))
    await service.save(recipe("c" * 16))
    assert await service.delete_conversations({10, 12}) == 1
    assert await service.load("a" * 16) is None
    assert len(await service.of_member(1)) == 2


async def test_one_of_another_version_says_so(database: Database, service: RecipeService) -> None:
    await service.save(recipe("a" * 16))
    repository = RecipeRepository(database)
    [row] = await repository.of_member(1)
    await repository.save(replace(row, request='{"modality": "text", "version": 99}'))
    with pytest.raises(InvalidRequest, match="another version"):
        await service.load("a" * 16)
