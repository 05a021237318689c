import pytest

from bot.services.setting_registry import SETTINGS, Setting, settings_under
from bot.settings import HostedSettings, LimitSettings
from models.catalog import Catalog, ModelSpec
from models.contracts import Modality
from models.errors import HandlerError, InvalidRequest, ModelUnavailable


def _spec(model_id: str, modality: Modality) -> ModelSpec:
    return ModelSpec.model_validate(
        {
            "id": model_id,
            "name": model_id.title(),
            "modality": modality,
            "backend": "fake",
            "source": {"kind": "path", "path": "/nowhere"},
            "licence": "MIT",
            "commercial_use": True,
            "memory_mb": 1,
            "load_s": 1,
        }
    )


CATALOG = Catalog([_spec("writer", Modality.TEXT), _spec("voice", Modality.SPEECH)], {})


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("text.enabled", "on", True),
        ("text.enabled", " OFF ", False),
        ("text.enabled", "yes", True),
        ("text.temperature", "0", 0.0),
        ("text.temperature", "1.25", 1.25),
        ("text.temperature", "2", 2.0),
        ("limits.jobs_at_once", "50", 50),
        ("text.model", "writer", "writer"),
        ("safety.pictures", " Spoiler ", "spoiler"),
        ("safety.threshold", "0.05", 0.05),
        ("text.system_prompt", "  Be brief. 🙂 עברית ", "Be brief. 🙂 עברית"),
    ],
)
def test_what_fits_is_read(key: str, text: str, value: object) -> None:
    found = SETTINGS[key].parse(text, CATALOG)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("key", "text", "part"),
    [
        ("text.enabled", "maybe", "either `on` or `off`"),
        ("safety.pictures", "hide", "one of `block`, `spoiler`, `age_restricted`"),
        ("safety.threshold", "0", "a number from 0.05 to 1"),
        ("text.temperature", "2.01", "a number from 0 to 2"),
        ("text.temperature", "nan", "a number from 0 to 2"),
        ("text.temperature", "-inf", "a number from 0 to 2"),
        ("text.temperature", "warm", "a number from 0 to 2"),
        ("limits.jobs_at_once", "0", "a whole number from 1 to 50"),
        ("limits.jobs_at_once", "2.5", "a whole number from 1 to 50"),
        ("limits.jobs_at_once", "", "a whole number from 1 to 50"),
        ("text.system_prompt", "x" * 2001, "that was 2001"),
        ("text.system_prompt", "   ", "that was 0"),
        ("text.model", "voice", "needs a text one"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(key: str, text: str, part: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        SETTINGS[key].parse(text, CATALOG)
    assert part in refused.value.user_message
    assert f"`{key}`" in refused.value.user_message


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(ModelUnavailable):
        SETTINGS["text.model"].parse("nobody", CATALOG)


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda setting: setting.key)
def test_every_default_fits_its_own_setting(setting: Setting) -> None:
    if setting.kind == "model":
        assert setting.default == ""
        assert setting.show("") == "the owner's choice"
    else:
        assert setting.parse(setting.show(setting.default), CATALOG) == setting.default


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda setting: setting.key)
def test_every_setting_can_be_offered_as_a_choice(setting: Setting) -> None:
    assert len(f"{setting.key}: {setting.description}") <= 100
    assert setting.key.count(".") == 1


def test_moderators_stay_within_the_owners_bounds() -> None:
    bounded = settings_under(HostedSettings(), LimitSettings(jobs_at_once=0, jobs_hour=40))
    hour = bounded["limits.server_jobs_hour"]
    assert hour.parse("40", CATALOG) == hour.default == 40
    for text in ("0", "41"):  # 0 would be no limit
        with pytest.raises(InvalidRequest, match="from 1 to 40"):
            hour.parse(text, CATALOG)
    free = bounded["limits.server_jobs_at_once"]
    assert free.default == free.parse("0", CATALOG) == 0
    assert SETTINGS["limits.server_jobs_at_once"].maximum == LimitSettings().jobs_at_once


def test_refusals_are_fit_to_be_shown() -> None:
    with pytest.raises(HandlerError) as refused:
        SETTINGS["text.model"].parse("x" * 5000, CATALOG)
    assert len(refused.value.user_message) < 2000
