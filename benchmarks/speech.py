"""Speech to listen to: a passage that the embedded voice reads, as long as is needed.

This module owns the passage. The voice reads it once a run.
"""

from __future__ import annotations

import tempfile
import wave
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import production
from bot.engine.spool import Spool
from models.contracts import SpeechRequest, SpeechResult
from models.media import SAMPLING_RATE_HZ, decode_audio
from models.recording import Recorder

if TYPE_CHECKING:
    from models.media import Samples

_PASSAGE = """
The harbour wakes before the town does. Long before the first shop opens its shutters, the boats
have gone out, and the gulls have gone with them. Martha watched them from the window of the old
pilot house, as she had done every morning for thirty years. She knew each boat by the sound of its
engine, and she knew which of them would come home early.

That Tuesday the barometer had fallen since midnight. She wrote the figure into the book, beside
the hour, the wind and the height of the tide. Nobody had asked her to keep the book. The station
had been closed for a long time, and the radio stood under a cloth. But a line of numbers without a
gap was worth something, she thought, even when nobody read it.

At seven the telephone rang. It was the school: could she come and tell the children how a
lighthouse works? She laughed, and said that the lamp was the easy part. You need a light, a lens,
and somebody who is awake. Then she put on her coat, took the book under her arm, and went down the
hundred and twelve steps to the quay. Behind her, far out on the grey water, the first of the boats
was already turning round.
"""

_PAUSE_S = 0.8


@cache
def passage() -> Samples:
    """Return the passage, mono float32 at 16 kHz, with a pause at the end."""
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder))
        voice = production.Model(production.SPEECH, spool)
        text = " ".join(_PASSAGE.split())
        result = voice.finish(SpeechRequest(text=text, seed=1)).result
        voice.close()
        assert isinstance(result, SpeechResult)
        blocks = list(decode_audio(spool.path(result.media)))
    return np.concatenate([*blocks, np.zeros(round(_PAUSE_S * SAMPLING_RATE_HZ), np.float32)])


def lasting(minutes: float) -> Samples:
    """Return the passage again and again, until so many minutes are full."""
    import numpy as np

    return np.resize(passage(), round(minutes * 60 * SAMPLING_RATE_HZ))


def wav(minutes: float) -> bytes:
    """Return so many minutes as a WAV file of 16 bits."""
    import io

    import numpy as np

    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLING_RATE_HZ)
        file.writeframes((lasting(minutes) * 32767).astype(np.int16).tobytes())
    return buffer.getvalue()


def ogg(minutes: float) -> bytes:
    """Return so many minutes as members send them: Ogg Opus."""
    with Recorder(SAMPLING_RATE_HZ, {}) as recorder:
        recorder.add(lasting(minutes))
        return recorder.finish().data
