"""Wav2Vec 2.0 by the production path, with a tiny one that was taught to write down tones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.contracts import Finished, TextDelta, TranscriptionRequest, TranscriptionResult
from models.errors import ModelLoadFailed, UnsupportedOption
from models.transcription import ctc
from models.transcription.ctc import CtcHandler
from tests.models.checkpoints_letters import sung, write_wav2vec2
from tests.models.control import media_of, result_of, spec_of, stages, streamed
from tests.models.sounds import Samples, silence, write


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    torch.set_num_threads(1)
    return write_wav2vec2(tmp_path_factory.mktemp("wav2vec2"))


@pytest.fixture(scope="module")
def handler(location: Path) -> CtcHandler:
    options = {"window_s": 10.0}
    spec = spec_of("wav2vec2", "transcription", languages=["en"], options=options)
    return ctc.load(spec, str(location), "cpu").handler


def request_for(folder: Path, *pieces: Samples, **options: object) -> TranscriptionRequest:
    path = write(folder / "clip.wav", np.concatenate(pieces))
    return TranscriptionRequest(media_of(path), **options)


def transcript(events) -> TranscriptionResult:
    result = result_of(events)
    assert isinstance(result, TranscriptionResult)
    return result


def test_letters_become_sentences_with_times(handler, control, tmp_path) -> None:
    request = request_for(tmp_path, sung("HI OHO"), silence(1.0), sung("HI HI HO"))

    events = list(handler.run(request, control))

    result = transcript(events)
    first, second = result.segments
    assert (first.text, second.text) == ("Hi oho.", "Hi hi ho.")
    assert (first.start_s, first.end_s) == pytest.approx((0.2, 1.4), abs=0.05)
    assert second.start_s == pytest.approx(1.6 + 1.0 + 0.2, abs=0.05)
    assert first.words == ()
    assert result.language == "en"
    assert result.usage.amount == pytest.approx(4.6, abs=0.05)
    assert streamed(events) == result.text
    assert stages(events)[-1] == "5 s of 5 s"


def test_words_have_times_when_they_are_asked_for(handler, control, tmp_path) -> None:
    request = request_for(tmp_path, sung("HI OHO"), word_timestamps=True)

    (segment,) = transcript(handler.run(request, control)).segments

    assert [word.text for word in segment.words] == ["Hi", "oho."]
    starts = [word.start_s for word in segment.words]
    assert starts == pytest.approx([0.2, 0.8], abs=0.05)


def test_long_recordings_are_heard_in_windows(handler, control, tmp_path) -> None:
    request = request_for(tmp_path, *[sung("HIOHO"), silence(2.0)] * 9)

    events = list(handler.run(request, control))

    result = transcript(events)
    assert [segment.text for segment in result.segments] == ["Hioho."] * 9
    starts = [segment.start_s for segment in result.segments]
    assert starts == pytest.approx([0.2 + 3.4 * number for number in range(9)], abs=0.06)


def test_the_same_sound_gives_the_same_text(handler, control, tmp_path) -> None:
    request = request_for(tmp_path, sung("HI OHO"))

    assert list(handler.run(request, control)) == list(handler.run(request, control))


def test_where_nobody_speaks_nothing_is_written(handler, control, tmp_path) -> None:
    assert transcript(handler.run(request_for(tmp_path, silence(3.0)), control)).segments == ()


def test_a_cancelled_job_ends_between_segments(handler, control, tmp_path) -> None:
    request = request_for(tmp_path, *[sung("HI OHO"), silence(2.0)] * 5)
    events = []
    for event in handler.run(request, control):
        events.append(event)
        control.cancelled = control.cancelled or isinstance(event, TextDelta)

    assert streamed(events) == "Hi oho."
    assert not any(isinstance(event, Finished) for event in events)


@pytest.mark.parametrize(
    ("options", "word"),
    [({"language": "de"}, "understands en"), ({"translate": True}, "translate")],
)
def test_it_refuses_what_it_cannot_do(handler, control, options, word, tmp_path) -> None:
    with pytest.raises(UnsupportedOption, match=word):
        list(handler.run(request_for(tmp_path, sung("HI"), **options), control))


@pytest.mark.parametrize("missing", ["vocab.json", "model.safetensors", "preprocessor_config.json"])
def test_a_folder_that_lacks_a_file_is_refused(location, missing, tmp_path) -> None:
    for file in location.iterdir():
        if file.name != missing:
            (tmp_path / file.name).symlink_to(file)

    with pytest.raises(ModelLoadFailed) as caught:
        ctc.load(spec_of("wav2vec2", "transcription"), str(tmp_path), "cpu")
    assert str(tmp_path) not in caught.value.user_message
