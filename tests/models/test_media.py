"""Reading what members send: every format that they have, and every way in which a file is bad."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.errors import EmptyInput, EncryptedMedia, HandlerError, InvalidMedia
from models.media import SAMPLING_RATE_HZ, decode_audio, probe_audio
from tests.models.sounds import (
    silence,
    tone,
    write,
    write_cenc,
    write_fairplay,
    write_protected_wma,
)

FORMATS = {
    "a.wav": ("pcm_s16le", 44_100),
    "a.mp3": ("libmp3lame", 44_100),
    "a.ogg": ("libopus", 48_000),
    "a.flac": ("flac", 44_100),
    "a.m4a": ("aac", 44_100),
    "a.webm": ("libopus", 48_000),
    "a.aac": ("aac", 44_100),
}


def decoded(path: Path) -> np.ndarray:
    return np.concatenate(list(decode_audio(path)))


@pytest.mark.parametrize("name", FORMATS)
def test_every_common_format_is_read_at_16_khz(tmp_path: Path, name: str) -> None:
    codec, rate_hz = FORMATS[name]
    path = write(tmp_path / name, tone(2.0, rate_hz), codec, rate_hz)

    info = probe_audio(path)
    samples = decoded(path)

    assert info.duration_s == pytest.approx(2.0, abs=0.15)
    assert not info.has_video
    assert samples.size / SAMPLING_RATE_HZ == pytest.approx(2.0, abs=0.1)
    assert samples.dtype == np.float32
    middle = samples[8000:24000]
    loudest = np.argmax(np.abs(np.fft.rfft(middle)))
    assert loudest == pytest.approx(440, abs=2)


def test_the_sound_of_a_video_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.mp4", tone(2.0), "aac", video=True)

    assert probe_audio(path).has_video
    assert decoded(path).size / SAMPLING_RATE_HZ == pytest.approx(2.0, abs=0.15)


def test_a_wav_named_mp3_is_read_all_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(1.0)).rename(tmp_path / "a.mp3")

    assert probe_audio(path).codec == "pcm_s16le"
    assert decoded(path).size == SAMPLING_RATE_HZ


def test_decoding_holds_about_a_second_at_a_time(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ogg", tone(20.0, 48_000), "libopus", 48_000)

    assert max(block.size for block in decode_audio(path)) < 2 * SAMPLING_RATE_HZ


def test_a_recording_without_a_length_in_its_head_is_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "live.webm", tone(3.0, 48_000), "libopus", 48_000, live="1")

    info = probe_audio(path)

    assert info.measured
    assert info.duration_s == pytest.approx(3.0, abs=0.1)


def test_stereo_becomes_mono(tmp_path: Path) -> None:
    import av

    path = tmp_path / "stereo.wav"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("pcm_s16le", rate=16_000, layout="stereo")
        both = np.stack([np.full(16_000, 0.5, np.float32), np.zeros(16_000, np.float32)])
        frame = av.AudioFrame.from_ndarray(both, "fltp", "stereo")
        frame.sample_rate = 16_000
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))

    assert probe_audio(path).channels == 2
    assert decoded(path).mean() == pytest.approx(0.25, abs=0.11)


def test_a_file_that_changes_its_rate_half_way_is_read_to_the_end(tmp_path: Path) -> None:
    first = write(tmp_path / "1.ogg", tone(1.0, 48_000), "libvorbis", 48_000).read_bytes()
    second = write(tmp_path / "2.ogg", tone(1.0, 22_050), "libvorbis", 22_050).read_bytes()
    path = tmp_path / "chained.ogg"
    path.write_bytes(first + second)

    assert decoded(path).size / SAMPLING_RATE_HZ == pytest.approx(2.0, abs=0.2)


def test_a_damaged_stretch_costs_only_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp3", tone(5.0, 44_100), "libmp3lame", 44_100)
    data = bytearray(path.read_bytes())
    third = len(data) // 3
    data[third : third + 2000] = bytes(2000)
    path.write_bytes(data)

    assert 4.0 < decoded(path).size / SAMPLING_RATE_HZ < 5.1


# --------------------------------------------------------------------------- bad files


def empty(folder: Path) -> Path:
    path = folder / "empty.ogg"
    path.touch()
    return path


def picture(folder: Path, kind: str = "png") -> Path:
    path = folder / f"picture.{kind}"
    Image.new("RGB", (16, 16)).save(path)
    return path.rename(folder / "song.mp3")


def text(folder: Path) -> Path:
    path = folder / "song.mp3"
    path.write_text("This is no song. " * 300)
    return path


def noise(folder: Path) -> Path:
    path = folder / "song.mp3"
    path.write_bytes(np.random.default_rng(4).bytes(50_000))
    return path


def archive(folder: Path) -> Path:
    path = folder / "song.mp3"
    path.write_bytes(b"PK\x03\x04" + bytes(3000))
    return path


def cut_mp4(folder: Path) -> Path:
    path = write(folder / "a.m4a", tone(3.0), "aac")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def cut_head(folder: Path) -> Path:
    path = write(folder / "a.ogg", tone(3.0, 48_000), "libopus", 48_000)
    path.write_bytes(path.read_bytes()[:60])
    return path


def mute_video(folder: Path) -> Path:
    import av

    path = folder / "mute.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for _ in range(10):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def no_samples(folder: Path) -> Path:
    return write(folder / "none.wav", silence(0))


BAD = [
    (empty, EmptyInput, "empty"),
    (no_samples, EmptyInput, "0 seconds"),
    (picture, InvalidMedia, "picture"),
    (text, InvalidMedia, "not a sound"),
    (noise, InvalidMedia, "not a sound"),
    (archive, InvalidMedia, "not a sound"),
    (cut_mp4, InvalidMedia, "incomplete"),
    (cut_head, InvalidMedia, "incomplete"),
    (mute_video, InvalidMedia, "no sound track"),
    (lambda folder: write_cenc(folder / "a.mp4", tone(2.0)), EncryptedMedia, "encrypted"),
    (lambda folder: write_fairplay(folder / "a.m4p", tone(2.0)), EncryptedMedia, "protected"),
    (
        lambda folder: write_protected_wma(folder / "a.wma", tone(2.0, 44_100)),
        EncryptedMedia,
        "protected",
    ),
]


@pytest.mark.parametrize(("make", "error", "word"), BAD)
def test_a_bad_file_gets_one_clear_sentence(tmp_path, make, error, word) -> None:
    path = make(tmp_path)

    for look in (probe_audio, lambda file: list(decode_audio(file))):
        with pytest.raises(HandlerError) as caught:
            look(path)
        assert type(caught.value) is error
        sentence = caught.value.user_message
        assert word in sentence
        assert sentence.endswith(".")
        assert str(tmp_path) not in sentence


@pytest.mark.parametrize("kind", ["jpeg", "gif", "webp", "bmp", "tiff", "avif"])
def test_pictures_of_every_kind_are_told_apart(tmp_path: Path, kind: str) -> None:
    with pytest.raises(InvalidMedia, match="picture"):
        probe_audio(picture(tmp_path, kind))


@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{name}\n",
        "ffconcat version 1.0\nfile '{name}'\n",
    ],
)
def test_a_playlist_never_opens_what_it_names(tmp_path: Path, playlist: str) -> None:
    secret = write(tmp_path / "secret.mp3", tone(2.0, 44_100), "libmp3lame", 44_100)
    path = tmp_path / "song.m3u8"
    path.write_text(playlist.format(name=secret.name))

    with pytest.raises(InvalidMedia, match="not a sound"):
        probe_audio(path)
