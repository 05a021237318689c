"""What the rule for explicit pictures means for a request."""

from typing import Any

import pytest

from bot.services.house_rules import HouseRules
from models.contracts import ImageRequest, MediaInput, VideoRequest, VisionRequest, amended
from tests.conftest import World
from tests.fakes import text_request

PICTURE = MediaInput("a", "a.png", "image/png", 1, "0" * 64)
REQUESTS = [
    ImageRequest("a door", reference=PICTURE),
    VideoRequest("a door opens", first_frame=PICTURE),
    VisionRequest((PICTURE,)),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: str(request.modality))
@pytest.mark.parametrize(
    ("rule", "age_restricted", "blocked_from"),
    [
        ("block", True, 0.7),
        ("spoiler", False, None),
        ("age_restricted", True, None),
        ("age_restricted", False, 0.7),
    ],
)
async def test_what_is_blocked_in_a_place_is_blocked_for_models(
    world: World, request_: Any, rule: str, age_restricted: bool, blocked_from: float | None
) -> None:
    await world.services.server_settings.set("safety.pictures", rule, guild_id=1, user_id=1)
    rules = HouseRules(world.services.admission)
    shown = rules.presentation(request_.modality, 1, 2, age_restricted=age_restricted)
    assert rules.bound(request_, shown).blocked_from == blocked_from  # type: ignore[union-attr]
    earlier = amended(request_, blocked_from=0.3)  # as a recipe of another time has it
    assert rules.bound(earlier, shown).blocked_from == blocked_from  # type: ignore[union-attr]


@pytest.mark.parametrize("request_", [text_request("hello"), ImageRequest("a door")])
def test_requests_without_pictures_stay_as_they_are(world: World, request_: Any) -> None:
    rules = {"unsafe": "block", "unsafe_from": 0.7}
    assert HouseRules(world.services.admission).bound(request_, rules) is request_
