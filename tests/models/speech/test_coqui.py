"""Coqui's backends on tiny checkpoints: XTTS with built-in speakers, VITS with one."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from models.contracts import Finished, SpeechRequest, SpeechResult
from models.errors import ModelLoadFailed, UnsupportedOption
from models.speech import coqui
from models.speech.coqui import CoquiHandler
from tests.models.checkpoints_sound import SPEAKERS, write_vits, write_xtts
from tests.models.control import ScratchControl, heard, result_of, spec_of, stages

SPEC = spec_of("coqui", "speech", languages=["en", "de", "fr", "ja"])
TEXT = "Hello there. How are you today?"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """Two threads on two busy cores wait for each other most of the time."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def xtts_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_xtts(tmp_path_factory.mktemp("xtts"))


@pytest.fixture(scope="module")
def vits_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vits(tmp_path_factory.mktemp("vits"))


@pytest.fixture(scope="module")
def xtts(xtts_folder: Path) -> CoquiHandler:
    return coqui.load(SPEC, str(xtts_folder), "cpu")


@pytest.fixture(scope="module")
def vits(vits_file: Path) -> CoquiHandler:
    return coqui.load(spec_of("coqui", "speech", languages=["en"]), str(vits_file), "cpu")


def speak(handler: CoquiHandler, control: ScratchControl, text: str = "Hello.", **options):
    result = result_of(handler.run(SpeechRequest(text, **options), control))
    assert isinstance(result, SpeechResult)
    return result


def test_xtts_speaks_with_its_first_speaker(xtts, control) -> None:
    events = list(xtts.run(SpeechRequest(TEXT), control))

    assert stages(events) == ["sentence 1 of 2", "sentence 2 of 2"]
    result = result_of(events)
    assert result.duration_s > 0.2
    assert result.voice == SPEAKERS[0]
    assert result.usage.amount == len("Hello there.") + len("How are you today?")


def test_every_built_in_speaker_can_be_chosen(xtts, control) -> None:
    first, second = (speak(xtts, control, voice=name, seed=1) for name in SPEAKERS)

    assert [first.voice, second.voice] == SPEAKERS
    assert not np.array_equal(heard(control, first), heard(control, second))


def test_a_seed_repeats(xtts, control) -> None:
    first, again, other = (heard(control, speak(xtts, control, seed=seed)) for seed in (3, 3, 4))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_speed_stretches_xtts(xtts, control) -> None:
    slow, fast = (speak(xtts, control, speed=speed, seed=1).duration_s for speed in (0.5, 2.0))

    assert slow > 1.5 * fast


def test_a_cancel_acts_between_sentences(xtts, control) -> None:
    events = []
    for event in xtts.run(SpeechRequest(TEXT), control):
        events.append(event)
        control.cancelled = len(events) == 2

    assert stages(events) == ["sentence 1 of 2", "sentence 2 of 2"]
    assert not any(isinstance(event, Finished) for event in events)


@pytest.mark.parametrize("language", ["de", "DE", "de-AT"])
def test_a_language_is_known_with_or_without_its_region(xtts, control, language: str) -> None:
    assert speak(xtts, control, "Guten Tag.", language=language).duration_s > 0


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"language": "sw"}, "does not speak `sw`"),
        ({"language": "ja"}, "needs the Python package `cutlet`"),
        ({"voice": "Somebody"}, "no voice"),
        ({"voice": "/tmp/somebody.wav"}, "no voice"),
    ],
)
def test_xtts_refuses_what_it_cannot_do(xtts, control, options, word, monkeypatch) -> None:
    monkeypatch.setattr(coqui, "find_spec", lambda _: None)

    with pytest.raises(UnsupportedOption, match=word):
        speak(xtts, control, **options)


def test_long_sentences_are_cut_where_the_language_wants_it(xtts) -> None:
    assert xtts._max_chars("fr") == 273
    assert xtts._max_chars("zh-cn") == 82


# --------------------------------------------------------------------------- VITS


def test_vits_speaks_from_a_file_and_from_its_folder(vits, vits_file, control) -> None:
    from_folder = coqui.load(spec_of("coqui", "speech"), str(vits_file.parent), "cpu")

    assert speak(vits, control, seed=1).duration_s > 0.2
    assert speak(from_folder, control, seed=1).duration_s > 0.2


def test_vits_repeats_a_seed_and_knows_speed(vits, control) -> None:
    slow, again, fast = (speak(vits, control, seed=1, speed=speed) for speed in (0.5, 0.5, 2.0))

    assert np.array_equal(heard(control, slow), heard(control, again))
    assert slow.duration_s > 1.5 * fast.duration_s


def test_vits_of_one_language_takes_that_alone(vits, control) -> None:
    assert speak(vits, control, language="en-GB").duration_s > 0
    with pytest.raises(UnsupportedOption, match="does not speak `de`"):
        speak(vits, control, language="de")


def test_vits_says_when_it_has_no_letter_of_a_text(vits, control) -> None:
    with pytest.raises(UnsupportedOption, match="can't read this writing"):
        speak(vits, control, "你好。")


# --------------------------------------------------------------------------- loading


def test_an_older_checkpoint_is_loaded_and_left_as_it_is(control, tmp_path: Path) -> None:
    folder = write_xtts(tmp_path / "old", old=True)
    before = hashlib.sha256((folder / "model.pth").read_bytes()).hexdigest()

    handler = coqui.load(SPEC, str(folder), "cpu")

    assert speak(handler, control).duration_s > 0
    assert hashlib.sha256((folder / "model.pth").read_bytes()).hexdigest() == before


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["model.pth", "speakers_xtts.pth"])
def test_a_checkpoint_that_could_run_code_is_refused(xtts_folder, name, tmp_path) -> None:
    import torch

    folder = tmp_path / "trap"
    shutil.copytree(xtts_folder, folder)
    torch.save({"model": Trap(tmp_path / "sprung")}, folder / name)

    with pytest.raises(ModelLoadFailed, match="more than weights"):
        coqui.load(SPEC, str(folder), "cpu")
    assert not (tmp_path / "sprung").exists()


def test_the_trap_would_spring_without_care(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Trap(tmp_path / "sprung")))

    assert (tmp_path / "sprung").exists()


def test_xtts_without_built_in_speakers_is_refused(xtts_folder, tmp_path: Path) -> None:
    folder = tmp_path / "mute"
    shutil.copytree(xtts_folder, folder)
    (folder / "speakers_xtts.pth").unlink()

    with pytest.raises(ModelLoadFailed, match=r"no speakers_xtts\.pth"):
        coqui.load(SPEC, str(folder), "cpu")


@pytest.mark.parametrize(
    ("config", "word"),
    [
        (None, "no config.json"),
        ("{not json", "no config.json"),
        (json.dumps({"model": "bark"}), "neither XTTS nor VITS"),
        (json.dumps({"model": "vits"}), "name the .pth file"),
    ],
)
def test_a_folder_that_is_no_model_is_named_so(config, word, tmp_path: Path) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)

    with pytest.raises(ModelLoadFailed) as caught:
        coqui.load(SPEC, str(tmp_path), "cpu")
    assert word in caught.value.user_message
    assert str(tmp_path) not in caught.value.user_message
