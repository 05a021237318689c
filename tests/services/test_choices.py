from bot.services.choices import LANGUAGES, choices, language_options


def test_what_was_typed_is_found_in_name_and_value_whatever_the_case() -> None:
    options = [("SmolLM2 135M", "smollm2-135m"), ("Qwen3 4B", "qwen3-4b"), ("Phi-4", "own")]
    assert [choice.value for choice in choices(options, " SMOL ")] == ["smollm2-135m"]
    assert [choice.value for choice in choices(options, "own")] == ["own"]
    assert len(choices(options, "")) == 3


def test_discords_bounds_are_kept() -> None:
    found = choices(((f"{number} " + "n" * 200, str(number)) for number in range(60)), "")
    assert len(found) == 25
    assert all(len(choice.name) <= 100 for choice in found)


def test_a_value_that_does_not_fit_is_left_out_rather_than_cut() -> None:
    assert choices([("long", "v" * 101), ("short", "v")], "")[0].value == "v"


def test_languages_are_offered_by_name_and_unknown_ones_by_code() -> None:
    assert language_options(["xx", "de", "en"]) == [
        ("English (en)", "en"),
        ("German (de)", "de"),
        ("xx (xx)", "xx"),
    ]
    assert all(len(code) == 2 for code in LANGUAGES)
