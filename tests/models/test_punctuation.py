"""Where sentences end."""

import pytest

from models.punctuation import ends_sentence


@pytest.mark.parametrize(
    ("word", "following"),
    [
        ("end.", "Then"),
        ("end.", "then"),  # people write so
        ("end.", ""),
        ("really?!", "Yes"),
        ('go."', "He"),
        ("fine.)", "Next"),
        ("I.", "But"),
        ("结束。", "然后"),
        ("تم؟", "نعم"),
        ("well…", "So"),
    ],
)
def test_a_sentence_ends(word: str, following: str) -> None:
    assert ends_sentence(word, following)


@pytest.mark.parametrize(
    ("word", "following"),
    [
        ("word", "Then"),
        ("Dr.", "Smith"),
        ("(Mr.", "Jones)"),
        ("e.g.", "this"),
        ("J.", "K."),
        ("U.S.", "Army"),
        ("comma,", "Then"),
        ('"Really?"', "he"),
        ("3.5", "percent"),
    ],
)
def test_a_sentence_goes_on(word: str, following: str) -> None:
    assert not ends_sentence(word, following)
