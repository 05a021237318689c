"""Which model serves a request, and what is said where there is none."""

from collections.abc import Sequence
from typing import Any, cast

import pytest

from bot.services.admission import Admission
from models.catalog import Catalog, ModelSpec, Profile
from models.contracts import Modality
from models.errors import ModelNotInstalled, ModelUnavailable
from tests.fakes import FakeWeights, fake_model

HUB = {"kind": "hub", "repo": "a/b", "revision": "0" * 40}
SERVER = {"kind": "endpoint", "url": "https://example.org/v1", "model": "m"}


class Fetched(FakeWeights):
    """Weights of which only some are here."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = ids

    def is_installed(self, spec: Any) -> bool:
        return spec.id in self._ids


class NothingSet:
    """Settings that nobody changed."""

    def get(self, key: str, *_: int) -> Any:
        return True if key.endswith(".enabled") else ""


def admission(
    rows: Sequence[ModelSpec], *, fetched: Sequence[str] = (), usual: str = ""
) -> Admission:
    profile = Profile(description="", memory_mb=1, defaults={Modality.TEXT: usual} if usual else {})
    return Admission(
        Catalog(rows, {}),
        profile,
        cast("Any", Fetched(fetched)),
        cast("Any", None),
        cast("Any", NothingSet()),
    )


def row(model_id: str, source: dict[str, Any] = HUB, memory_mb: int = 10) -> ModelSpec:
    return fake_model(model_id, source=source, memory_mb=memory_mb, download_mb=5)


def chosen(admission: Admission) -> str:
    return admission.model_for(Modality.TEXT, 1, 2).id


def test_a_profile_without_a_model_names_the_smallest_that_can_be_fetched() -> None:
    rows = [row("big", memory_mb=99), row("small"), row("tiny-server", SERVER, memory_mb=1)]
    with pytest.raises(ModelNotInstalled) as raised:
        chosen(admission(rows))
    assert str(raised.value) == (
        "Answering questions has no model on this machine yet. "
        "The owner gets it with `python -m bot models pull small`."
    )


def test_without_any_row_the_owner_is_to_be_told() -> None:
    with pytest.raises(ModelUnavailable, match=r"no model on this machine yet\. Tell the owner"):
        chosen(admission([]))


def test_what_the_owner_fetched_answers_where_the_profile_has_none() -> None:
    rows = [row("big"), row("small")]
    assert chosen(admission(rows, fetched=["small"])) == "small"


def test_a_server_is_not_asked_unless_somebody_chose_it() -> None:
    """It may cost money."""
    rows = [row("server", SERVER), row("small")]
    with pytest.raises(ModelNotInstalled, match="pull small"):
        chosen(admission(rows, fetched=["server"]))
    assert chosen(admission(rows, fetched=["server"], usual="server")) == "server"


def test_a_usual_model_that_is_missing_says_how_to_get_it() -> None:
    with pytest.raises(ModelNotInstalled, match="bot models pull big"):
        chosen(admission([row("big"), row("small")], fetched=["small"], usual="big"))
