"""Real, small pictures and clips for the fake backend, and what it sees in others.

A generated picture has the first colour that the prompt names, or the reference's; a 16th of the
wished size. ``picture`` makes one for a test to send: what it ``says`` is what OCR reads in it.
"""

from __future__ import annotations

import io
from pathlib import Path

from models.contracts import (
    Control,
    ImageRequest,
    ImageResult,
    MediaInput,
    Picture,
    PictureText,
    TextLine,
    UpscalingRequest,
    UpscalingResult,
    Usage,
    VideoRequest,
    VideoResult,
    VisionRequest,
    VisionResult,
)
from models.errors import UnsafePicture
from models.image.pictures import encode_png, open_picture, said_by
from models.image.safety import is_blocked

COLOURS = {"red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255), "grey": (128, 128, 128)}

_SHRUNK = 16


def picture(colour: str, size: tuple[int, int] = (40, 30), *, says: str = "") -> bytes:
    """Return a PNG of one colour."""
    from PIL import Image

    return encode_png(Image.new("RGB", size, COLOURS[colour]), {"says": says})


def jpeg(colour: str) -> bytes:
    """Return a JPEG of one colour."""
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (32, 32), COLOURS[colour]).save(file, "JPEG")
    return file.getvalue()


def colour_of(data: bytes | Path) -> str:
    """Return the name of a picture's colour."""
    image = open_picture(data)
    seen = image.getpixel((image.width // 2, image.height // 2))

    def distance(name: str) -> int:
        return sum(abs(a - b) for a, b in zip(COLOURS[name], seen, strict=True))

    return min(COLOURS, key=distance)


SeenRequest = ImageRequest | VideoRequest | VisionRequest | UpscalingRequest


def seen_result(
    request: SeenRequest,
    control: Control,
    answer: str,
    unsafe_score: float | None,
) -> ImageResult | VideoResult | VisionResult | UpscalingResult:
    """Return what a model would, with real files."""
    if isinstance(request, ImageRequest):
        return _drawn(request, control, answer, unsafe_score)
    if isinstance(request, VideoRequest):
        return _filmed(request, control, answer, unsafe_score)
    if isinstance(request, UpscalingRequest):
        return _enlarged(request, control, unsafe_score)
    answers = tuple(_looked_at(request, control, media, unsafe_score) for media in request.images)
    return VisionResult(answers, Usage(len(answers), "pictures"))


def _named(prompt: str, first: Path | None) -> str:
    if first is not None:
        return colour_of(first)
    words = prompt.replace(",", " ").split()
    return next((word for word in words if word in COLOURS), "grey")


def _drawn(
    request: ImageRequest, control: Control, answer: str, unsafe_score: float | None
) -> ImageResult:
    reference = control.open(request.reference) if request.reference else None
    if reference and is_blocked(unsafe_score, request.blocked_from):
        raise UnsafePicture
    size = max(1, request.width_px // _SHRUNK), max(1, request.height_px // _SHRUNK)
    data = picture(_named(answer, reference), size)
    seed = 7 if request.seed is None else request.seed
    pictures = tuple(
        Picture(
            control.store(data, f"picture-{seed + number}.png", "image/png"),
            *size,
            seed=seed + number,
            alt_text=f"AI-generated picture: {answer}",
            unsafe_score=unsafe_score if number == 0 else unsafe_score and 0.0,
        )
        for number in range(request.count)
    )
    return ImageResult(pictures, Usage(len(pictures), "pictures"), request.num_inference_steps)


def _filmed(
    request: VideoRequest, control: Control, answer: str, unsafe_score: float | None
) -> VideoResult:
    first = control.open(request.first_frame) if request.first_frame else None
    if first and is_blocked(unsafe_score, request.blocked_from):
        raise UnsafePicture
    frames, fps = max(1, round(8 * request.seconds)), 8.0
    data = _mp4(_named(answer, first), frames)
    return VideoResult(
        media=control.store(data, "clip.mp4", "video/mp4"),
        width_px=64,
        height_px=64,
        frames=frames,
        fps=fps,
        seed=7 if request.seed is None else request.seed,
        alt_text=f"AI-generated clip: {answer}",
        usage=Usage(frames, "frames"),
        unsafe_score=unsafe_score,
    )


def _enlarged(
    request: UpscalingRequest, control: Control, unsafe_score: float | None
) -> UpscalingResult:
    image = open_picture(control.open(request.picture))
    larger = image.resize((request.factor * image.width, request.factor * image.height))
    media = control.store(encode_png(larger, {}), request.picture.filename, "image/png")
    picture = Picture(
        media, *larger.size, seed=None, alt_text=request.alt_text, unsafe_score=unsafe_score
    )
    return UpscalingResult(picture, *image.size, usage=Usage(1, "pictures"))


def _mp4(colour: str, frames: int) -> bytes:
    import av
    import numpy as np

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        pixels = np.full((64, 64, 3), COLOURS[colour], np.uint8)
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def _looked_at(
    request: VisionRequest, control: Control, media: MediaInput, unsafe_score: float | None
) -> PictureText:
    path = control.open(media)
    if is_blocked(unsafe_score, request.blocked_from):
        return PictureText("", unsafe_score=unsafe_score)
    colour = colour_of(path)
    says = said_by(path).get("says", "")
    copy = control.store(picture(colour, says=says), "picture.png", "image/png")
    texts = {"ocr": says, "question": f"{request.question} It is {colour}."}
    lines = tuple(TextLine(line, (0, 0, 9, 9), 0.9) for line in says.splitlines())
    return PictureText(
        texts.get(request.task, f"A {colour} picture ({request.task})."),
        lines if request.task == "ocr" else (),
        unsafe_score,
        copy if request.copies else None,
    )
