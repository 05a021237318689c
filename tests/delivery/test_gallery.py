from dataclasses import replace

import pytest

from bot.delivery.parts import AnchorEdit
from bot.delivery.present import parts_of
from bot.delivery.splitter import MESSAGE_LIMIT, units
from bot.engine.job import Job, JobState, Outcome
from bot.views import ids
from models.contracts import (
    ImageRequest,
    ImageResult,
    MediaInput,
    Picture,
    PictureText,
    Result,
    TextLine,
    Usage,
    VideoRequest,
    VideoResult,
    VisionRequest,
    VisionResult,
)
from models.errors import UnsupportedOption, WorkerCrashed
from tests.delivery.jobs import JOB_ID, RECIPE_ID, USER_ID, job

PNG = MediaInput("b" * 32, "picture-5.png", "image/png", 4, "0" * 64)
SAFE = {"unsafe": "block", "unsafe_from": 0.7}
ALL = {"recipe": RECIPE_ID, "offers": ["describe", "animate"], **SAFE}


def only(of: Job, result: Result | None, *notices: str) -> AnchorEdit:
    [part] = parts_of(of, Outcome(JobState.DONE, result, notices=notices))
    assert isinstance(part, AnchorEdit)
    return part


def labels(part: AnchorEdit) -> list[str]:
    return [button.label for button in part.buttons]


def drawing(*, reference: bool = False, **presentation: object) -> Job:
    request = ImageRequest("a red door", reference=PNG if reference else None)
    return job(request, **{"quote": "a red door", **presentation})


def drawn(*scores: float | None, seed: int | None = 5) -> ImageResult:
    pictures = tuple(
        Picture(PNG, 640, 480, seed, "AI-generated picture: a red door", score) for score in scores
    )
    return ImageResult(pictures, Usage(len(pictures), "pictures"), 20, 7.5)


def clip(score: float | None = None) -> VideoResult:
    media = replace(PNG, filename="clip.mp4", content_type="video/mp4")
    return VideoResult(media, 832, 480, 33, 16.0, 5, "a door", Usage(33, "frames"), score)


# --------------------------------------------------------------------------- pictures


def test_a_picture_is_shown_with_what_made_it() -> None:
    part = only(drawing(style="photo", **ALL), drawn(0.1), "A notice.")
    assert part.content == (
        "> a red door\n🎨 `a-model` · style photo · 640 × 480 · 20 steps · guidance 7.5 · seed 5"
        "\n-# A notice."
    )
    [file] = part.files
    assert file.filename == "picture-5.png"
    assert file.spool_path == PNG.path
    assert file.description == "AI-generated picture: a red door"


def test_a_hosted_picture_has_no_seed_to_show() -> None:
    result = replace(drawn(None, seed=None), num_inference_steps=None, guidance_scale=None)
    assert only(drawing(), result).content == "> a red door\n🎨 `a-model` · 640 × 480"


def test_a_picture_has_its_buttons() -> None:
    part = only(drawing(**ALL), drawn(0.1))
    assert [button.custom_id for button in part.buttons] == [
        ids.again_id(USER_ID, RECIPE_ID),
        ids.picture_id("vary", USER_ID, RECIPE_ID),
        ids.picture_id("upscale", USER_ID, RECIPE_ID),
        ids.picture_id("edit", USER_ID, RECIPE_ID),
        ids.picture_id("reference", USER_ID, RECIPE_ID),
        ids.picture_id("describe", USER_ID, RECIPE_ID),
        ids.picture_id("animate", USER_ID, RECIPE_ID),
        ids.delete_id(USER_ID, JOB_ID),
    ]
    assert all(len(button.custom_id) <= 100 for button in part.buttons)


def test_without_a_recipe_there_is_no_button_that_would_need_one() -> None:
    assert labels(only(drawing(**SAFE), drawn(0.1))) == ["Delete"]


def test_a_reference_that_is_not_kept_takes_the_buttons_that_need_it() -> None:
    part = only(drawing(reference=True, recipe=RECIPE_ID), drawn(0.1))
    assert labels(part) == ["Vary", "Upscale", "Use as reference", "Delete"]
    kept = only(drawing(reference=True, recipe=RECIPE_ID, pictures=[[1, 2, 3]]), drawn(0.1))
    assert labels(kept)[:4] == ["Again", "Vary", "Upscale", "Edit prompt"]


@pytest.mark.parametrize(
    ("rule", "score", "shown", "veiled"),
    [
        ("block", 0.69, True, False),
        ("block", 0.7, False, False),
        ("spoiler", 0.7, True, True),
        ("spoiler", 0.2, True, False),
        ("allow", 0.99, True, False),
        ("of another version", 0.9, False, False),
        ("block", None, True, False),
    ],
)
def test_the_rule_decides_about_explicit_pictures(
    rule: str, score: float | None, *, shown: bool, veiled: bool
) -> None:
    part = only(drawing(unsafe=rule, unsafe_from=0.7), drawn(score))
    assert bool(part.files) is shown
    assert all(file.filename.startswith("SPOILER_") is veiled for file in part.files)
    assert ("Not shown" in part.content) is not shown
    film = only(job(VideoRequest("x"), unsafe=rule, unsafe_from=0.7), clip(score))
    assert bool(film.files) is shown


def test_of_several_pictures_only_the_explicit_ones_are_left_out() -> None:
    part = only(drawing(**ALL), drawn(0.9, 0.1, 0.8))
    assert len(part.files) == 1
    assert "2 more not shown" in part.content


def test_all_that_is_blocked_offers_nothing_to_do_with_it() -> None:
    assert labels(only(drawing(**ALL), drawn(0.9))) == ["Again", "Edit prompt", "Delete"]


def test_a_long_prompt_fits() -> None:
    part = only(drawing(quote="x" * 4000, **ALL), drawn(0.1), *["n" * 290] * 20)
    assert units(part.content) <= MESSAGE_LIMIT


def test_what_failed_offers_another_try_unless_it_cannot_work() -> None:
    for of, error, expected in (
        (drawing(**ALL), WorkerCrashed(), ["Try again", "Delete"]),
        (drawing(reference=True, **ALL), WorkerCrashed(), ["Delete"]),
        (drawing(**ALL), UnsupportedOption("No."), ["Delete"]),
    ):
        [part] = parts_of(of, Outcome(JobState.FAILED, error=error))
        assert isinstance(part, AnchorEdit)
        assert labels(part) == expected


def test_a_clip_says_how_long_it_is() -> None:
    part = only(job(VideoRequest("a door"), quote="a door", recipe=RECIPE_ID), clip())
    assert part.content == "> a door\n🎬 `a-model` · 832 × 480 · 2.1 s · seed 5"
    assert labels(part) == ["Again", "Edit prompt", "Delete"]


# --------------------------------------------------------------------------- descriptions


_FIELDS = ("question", "layout", "languages", "copies")


def looking(task: str = "caption", **options: object) -> Job:
    fields = {key: options.pop(key) for key in _FIELDS if key in options}
    return job(
        VisionRequest((PNG,), task, **fields),
        **{"recipe": RECIPE_ID, "offers": ["ask"], **SAFE, **options},
    )  # type: ignore[arg-type]


def said(*texts: str, score: float | None = None, copies: bool = False) -> VisionResult:
    answers = tuple(
        PictureText(text, unsafe_score=score, copy=PNG if copies else None) for text in texts
    )
    return VisionResult(answers, Usage(len(answers), "pictures"))


def test_a_caption_stands_alone() -> None:
    part = only(looking(pictures=[[1, 2, 3]]), said("A red door."))
    assert part.content == "👁️ A red door."
    assert labels(part) == ["Again", "Ask about it", "Delete"]


def test_a_picture_that_cannot_be_fetched_again_has_no_more_questions() -> None:
    assert labels(only(looking(), said("A red door."))) == ["Delete"]
    assert labels(only(looking(copies=True), said("A door.", copies=True)))[:2] == [
        "Again",
        "Ask about it",
    ]


def test_where_no_model_answers_questions_none_are_asked_for() -> None:
    part = only(looking(pictures=[[1, 2, 3]], offers=[]), said("A red door."))
    assert labels(part) == ["Again", "Delete"]


def test_no_answer_is_said_to_be_none() -> None:
    assert only(looking("ocr"), said("")).content == "📄 *There is no text in this picture.*"
    assert only(looking(), said(" ")).content == "👁️ *(no answer)*"


def test_text_cannot_break_out_of_its_block_or_veil() -> None:
    part = only(looking("ocr", layout=True), said("a ``` b"))
    assert part.content.count("```") == 2
    veiled = only(looking(unsafe="spoiler"), said("a || b", score=0.9))
    assert veiled.content.count("||") == 2


def test_a_blocked_picture_is_neither_shown_nor_told_of() -> None:
    part = only(looking(copies=True), said("A secret.", score=0.9, copies=True))
    assert part.files == ()
    assert "secret" not in part.content
    long = only(looking(), said(*["A secret. " * 300] * 2, score=0.9))
    assert not any("secret" in file.text for file in long.files)


def test_a_long_veiled_text_stays_veiled() -> None:
    part = only(looking(unsafe="spoiler"), said("A secret. " * 300, score=0.9))
    assert part.content.count("||") == 2
    assert part.files[0].filename == "SPOILER_description.txt"
    assert units(part.content) <= MESSAGE_LIMIT


def test_a_language_may_be_why_there_is_no_text() -> None:
    assert "in this language" in only(looking("ocr", languages=("de",)), said("")).content
    assert "in this language" not in only(looking("ocr"), said("")).content


def test_text_in_an_unknown_picture_stands_below_the_answer() -> None:
    lines = tuple(TextLine(line, (0, 0, 1, 1), 1.0) for line in ("Closed", "on Monday"))
    unknown = PictureText("I do not know it.", lines, unsafe_score=0.9)
    result = VisionResult((unknown,), Usage(1, "pictures"))
    part = only(looking(unsafe="allow"), result)
    assert part.content == "👁️ I do not know it. The text in it:\n> Closed\n> on Monday"
    veiled = only(looking(unsafe="spoiler"), result)
    assert veiled.content == "👁️ ||I do not know it. The text in it:\nClosed\non Monday||"


def test_long_text_in_an_unknown_picture_is_in_the_file_too() -> None:
    lines = (TextLine("word " * 400, (0, 0, 1, 1), 1.0),)
    part = only(looking(), VisionResult((PictureText("No.", lines),), Usage(1, "pictures")))
    assert part.files[0].text == f"No. The text in it:\n{'word ' * 400}"


def test_text_that_was_wanted_in_vain_makes_no_part() -> None:
    page = "\n".join(["The quick brown fox jumps over the lazy dog"] * 4)
    for text, parts in (("EXIT", 0), (page, 1)):
        lines = tuple(TextLine(line, (0, 0, 1, 1), 1.0) for line in text.splitlines())
        result = VisionResult((PictureText(text, lines),), Usage(1, "pictures"))
        of = looking("ocr", then="caption")
        assert len(parts_of(of, Outcome(JobState.DONE, result))) == parts
