"""What calls cost, to the millionth of a dollar, and what a request may cost at most."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bot.settings import CONFIG_FOLDER
from models.catalog import Catalog, ModelSpec
from models.contracts import (
    ChatMessage,
    ImageRequest,
    MediaInput,
    Modality,
    Request,
    SpeechRequest,
    TextRequest,
    TranscriptionRequest,
    VideoRequest,
    VisionRequest,
)
from models.prices import Amounts, Prices, most_micro_usd, to_micro_usd, usd
from tests.models.control import spec_of

SERVER = {"kind": "endpoint", "url": "https://example.org/v1", "model": "m"}
CATALOG = Catalog.read(CONFIG_FOLDER)


def sound(size_bytes: int) -> MediaInput:
    return MediaInput("x", "x", "audio/ogg", size_bytes, "0" * 64)


def spec(modality: str, prices: dict[str, float] | None, **fields: Any) -> ModelSpec:
    return spec_of("some", modality, source=SERVER, prices=prices, **fields)


@pytest.mark.parametrize(
    ("prices", "used", "micro_usd"),
    [
        ({"text_input": 5, "output": 30}, Amounts(text_tokens=300, output_tokens=2000), 61_500),
        ({"text_input": 0.15}, Amounts(text_tokens=1), 1),
        ({"text_input": 0.1}, Amounts(text_tokens=30), 3),
        ({"audio_input": 6, "image_input": 8}, Amounts(audio_tokens=10, image_tokens=1), 68),
        ({"characters": 0.6}, Amounts(characters=5), 3),
        ({"picture": 0.04}, Amounts(pictures=3), 120_000),
        ({"second": 0.1}, Amounts(clip_s=8), 800_000),
        ({"minute": 0.0045}, Amounts(sound_s=40), 3000),
        ({"minute": 0.006}, Amounts(sound_s=0.01), 1),
        ({}, Amounts(text_tokens=10**9, pictures=4, clip_s=60), 0),
    ],
)
def test_a_cost_is_exact_and_a_part_of_a_millionth_counts_as_one(prices, used, micro_usd) -> None:
    assert Prices(**prices).micro_usd(used) == micro_usd


@given(st.integers(0, 10**7), st.decimals(0, 200, places=4))
def test_a_cost_is_never_less_than_the_price(tokens: int, price: Decimal) -> None:
    found = Prices(output=price).micro_usd(Amounts(output_tokens=tokens))
    assert 0 <= found - price * tokens < 1


def test_a_price_is_positive_and_known() -> None:
    for wrong in ({"output": -1}, {"outputs": 1}, {"output": float("nan")}):
        with pytest.raises(ValidationError):
            Prices(**wrong)


def test_a_model_of_this_machine_costs_nothing_and_one_without_prices_nobody_knows() -> None:
    request = SpeechRequest("Hello.")
    assert most_micro_usd(spec_of("some", "speech"), request) == 0
    assert most_micro_usd(spec("speech", None), request) is None
    assert most_micro_usd(spec("speech", {}), request) == 0


TALK = TextRequest(
    (ChatMessage("system", "Be brief."), ChatMessage("user", "Wie heißt das?")), max_new_tokens=100
)
REFERENCE = sound(10)


@pytest.mark.parametrize(
    ("modality", "prices", "request_", "micro_usd"),
    [
        ("text", {"text_input": 2, "output": 10}, TALK, 2 * (9 + 15 + 16) + 1000),
        ("image", {"picture": 0.04}, ImageRequest("gate", count=3), 120_000),
        ("image", {"text_input": 5}, ImageRequest("gate", "fog", count=2), 2 * 7 * 5),
        ("image", {"image_input": 8}, ImageRequest("gate", reference=REFERENCE), 120_000),
        ("vision", {"image_input": 1}, VisionRequest((REFERENCE,) * 2), 30_000),
        ("video", {"second": 0.1}, VideoRequest("gate", seconds=5.5), 550_000),
        ("speech", {"characters": 1}, SpeechRequest("Hello."), 6),
        ("speech", {"minute": 0.6}, SpeechRequest("x" * 240, speed=0.5), 1_200_000),
        ("transcription", {"minute": 0.6}, TranscriptionRequest(sound(30_000)), 600_000),
        ("transcription", {"audio_input": 1}, TranscriptionRequest(sound(5000)), 200),
        ("transcription", {"minute": 0.6}, TranscriptionRequest(sound(10**12)), 144_000_000),
    ],
)
def test_what_a_request_may_cost(
    modality: str, prices: dict[str, float], request_: Request, micro_usd: int
) -> None:
    assert most_micro_usd(spec(modality, prices), request_) == micro_usd


@pytest.mark.parametrize(("wished", "made"), [(0.5, 4), (6, 4), (6.1, 8), (60, 12)])
def test_a_clip_costs_the_length_that_the_server_makes(wished: float, made: int) -> None:
    found = spec("video", {"second": 0.1}, options={"seconds": [4, 8, 12]})
    assert most_micro_usd(found, VideoRequest("gate", seconds=wished)) == made * 100_000


def test_more_tokens_than_the_context_are_not_sent() -> None:
    found = spec("text", {"text_input": 1}, context_tokens=500)
    long = TextRequest((ChatMessage("user", "x" * 9000),))
    assert most_micro_usd(found, long) == 500


def test_an_estimate_can_be_made_for_every_priced_row_that_ships() -> None:
    """A row whose price is by the token needs the price of a picture as well."""
    asked: dict[Modality, Request] = {
        Modality.TEXT: TALK,
        Modality.IMAGE: ImageRequest("gate"),
        Modality.VIDEO: VideoRequest("gate"),
        Modality.SPEECH: SpeechRequest("Hello."),
        Modality.TRANSCRIPTION: TranscriptionRequest(sound(5000)),
    }
    priced = [row for row in CATALOG.all() if row.prices and any(dict(row.prices).values())]
    assert len(priced) >= 8
    for row in priced:
        most = most_micro_usd(row, asked[row.modality])
        assert most is not None
        assert most > 200, row.id
        if row.modality is Modality.IMAGE:
            assert row.prices
            assert row.prices.picture > 0, row.id


def test_only_rows_that_ask_a_server_have_prices() -> None:
    assert [row.id for row in CATALOG.all() if row.prices and not row.is_hosted] == []


@pytest.mark.parametrize(
    ("micro_usd", "shown"),
    [
        (0, "$0.00"),
        (1, "less than $0.01"),
        (9_999, "less than $0.01"),
        (10_000, "$0.01"),
        (1_254_999, "$1.25"),
        (1_234_567_890_000, "$1,234,567.89"),
    ],
)
def test_money_as_people_read_it(micro_usd: int, shown: str) -> None:
    assert usd(micro_usd) == shown


def test_dollars_that_a_person_wrote() -> None:
    assert [to_micro_usd(dollars) for dollars in (0, 0.1, 0.07, 10.0)] == [
        0,
        100_000,
        70_000,
        10**7,
    ]
