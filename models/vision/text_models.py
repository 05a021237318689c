"""The models inside the ``rapidocr`` wheel: one finds text, one tells its direction, one reads it.

This module owns that library. Each model is loaded from its file, so that the library has no
reason to fetch anything, and is called directly: the library's own pipeline shrinks pictures,
cannot be stopped, and turns each line by itself where the page as a whole knows better.

Source: https://github.com/RapidAI/RapidOCR
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from models.errors import ModelLoadFailed, OutOfMemory, failure_of
from models.vision.alphabets import possible
from models.vision.lines import Point, Span

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    Pixels = NDArray[np.uint8]

FINDER: Final = "PP-OCRv6_det_small.onnx"
TURNER: Final = "ch_ppocr_mobile_v2.0_cls_mobile.onnx"
READER: Final = "PP-OCRv6_rec_small.onnx"

BATCH: Final = 6
"""Lines that are read in one go: a second or so of a slow core."""

_LEAST_SEARCHED_PX = 960
_MOST_SEARCHED_PX = 2000
_LEAST_SIDE_PX = 64
_LEAST_BORDER_PX = 16
_LARGEST_FACTOR = 4.0
_SURE = 0.5
_TURNER_RATIO = 4


@dataclass(frozen=True, slots=True)
class Strip:
    """A line of text that was found.

    Attributes:
        span: Where it stands.
        pixels: The line alone, upright, height x width x BGR.
    """

    span: Span
    pixels: Pixels


class TextFinder:
    """Finds lines of text, and which way they run."""

    def __init__(self, folder: Path, threads: int = 0) -> None:
        """Load the two models for that.

        Raises:
            ModelLoadFailed: A file is missing or damaged.
        """
        from rapidocr.ch_ppocr_cls import TextClassifier
        from rapidocr.ch_ppocr_det import TextDetector

        self._detector = _loaded(TextDetector, "Det", folder / FINDER, threads)
        self._classifier = _loaded(TextClassifier, "Cls", folder / TURNER, threads)

    def find(self, picture: Image.Image) -> list[Strip]:
        """Return the lines of a picture, upright, in no order.

        Raises:
            BackendError: The library failed.
            OutOfMemory: There is no room for it.
        """
        pixels, zoom = _roomy(picture)
        self._search_at(max(pixels.shape[:2]))
        try:
            found = self._detector(pixels)
            quads = [] if found.boxes is None else list(found.boxes)
            upright = [_cut_out(pixels, quad) for quad in quads]
            turned = self._upside_down([strip for strip, _ in upright])
        except Exception as error:
            raise failure_of(error) from error
        flipped = [
            _decide([turned[i] for i, (_, tall) in enumerate(upright) if tall is kind])
            for kind in (False, True)
        ]
        return [
            _strip(strip, zoom.back(quad), tall=tall, flipped=flipped[tall])
            for quad, (strip, tall) in zip(quads, upright, strict=True)
        ]

    def _search_at(self, longest_px: int) -> None:
        """Look at half the size, within bounds: lines are found well, for a quarter of the time."""
        self._detector.limit_type = "max"
        self._detector.limit_side_len = min(
            _MOST_SEARCHED_PX, max(_LEAST_SEARCHED_PX, longest_px // 2)
        )

    def _upside_down(self, strips: list[Pixels]) -> list[float]:
        """Return for each line how sure it is that it stands on its head, -1 to 1, by length."""
        if not strips:
            return []
        heads = [strip[:, : _TURNER_RATIO * strip.shape[0]] for strip in strips]
        verdicts = self._classifier(heads).cls_res
        return [
            (score if label == "180" else -score) * strip.shape[1]
            for (label, score), strip in zip(verdicts, strips, strict=True)
        ]


class TextReader:
    """Reads lines of text."""

    def __init__(self, folder: Path, threads: int = 0) -> None:
        """Load the model for that.

        Raises:
            ModelLoadFailed: The file is missing or damaged.
        """
        from rapidocr.ch_ppocr_rec import TextRecInput, TextRecognizer

        self._input = TextRecInput
        self._recognizer = _loaded(TextRecognizer, "Rec", folder / READER, threads)
        self._narrowing = _Narrowing(self._recognizer.postprocess_op)
        self._recognizer.postprocess_op = self._narrowing

    def read(
        self, strips: Sequence[Strip], languages: Collection[str] = ()
    ) -> Iterator[dict[int, tuple[str, float]]]:
        """Read lines, some at a time: text and confidence by the index of the line.

        Text that the model is not sure of is empty.

        Args:
            strips: The lines.
            languages: BCP 47 codes; none leaves it to the model.

        Raises:
            BackendError: The library failed.
            OutOfMemory: There is no room for it.
        """
        self._narrowing.to(languages)
        shapes = [strip.pixels.shape for strip in strips]
        alike = sorted(range(len(strips)), key=lambda i: shapes[i][1] / shapes[i][0])
        for start in range(0, len(alike), BATCH):
            indices = alike[start : start + BATCH]
            lines = [strips[i].pixels for i in indices]
            try:
                read = self._recognizer(self._input(img=lines, return_word_box=False))
            except Exception as error:
                raise failure_of(error) from error
            yield {
                index: (text.strip() if score >= _SURE else "", float(score))
                for index, text, score in zip(indices, read.txts, read.scores, strict=True)
            }


class _Narrowing:
    """Turns the model's likelihoods into text, with letters of other languages left out."""

    def __init__(self, decode: Any) -> None:
        self._decode = decode
        self._possible: NDArray[np.float32] | None = None

    def to(self, languages: Collection[str]) -> None:
        """Take the letters of some languages alone; of all of them where none is named."""
        import numpy as np

        self._possible = (
            np.array(possible(self._decode.character, languages), np.float32) if languages else None
        )

    def __call__(self, likelihoods: Any, *args: Any, **options: Any) -> Any:
        if self._possible is not None:
            likelihoods = likelihoods * self._possible
        return self._decode(likelihoods, *args, **options)


def bundled_folder() -> Path:
    """Return where the wheel keeps its models.

    Raises:
        ModelLoadFailed: The library is not installed.
    """
    try:
        import rapidocr
    except ImportError as error:
        raise ModelLoadFailed("The library `rapidocr` is not installed. Tell the owner.") from error
    return Path(rapidocr.__file__).parent / "models"


def _loaded(kind: Any, part: str, file: Path, threads: int) -> Any:
    if not file.is_file():
        # The library would go and fetch it.
        raise ModelLoadFailed(f"The model can't be loaded: its folder has no {file.name}.")
    import cv2
    from rapidocr.main import DEFAULT_CFG_PATH
    from rapidocr.utils.log import logger
    from rapidocr.utils.parse_parameters import ParseParams

    logger.setLevel("ERROR")
    count = threads or int(os.environ.get("OMP_NUM_THREADS") or max(1, (os.cpu_count() or 2) - 1))
    cv2.setNumThreads(count)
    config = ParseParams.load(DEFAULT_CFG_PATH)[part]
    config.model_path = str(file)
    config.font_path = None
    config.engine_cfg = ParseParams.load(DEFAULT_CFG_PATH).EngineConfig.onnxruntime
    config.engine_cfg.intra_op_num_threads = min(count, os.cpu_count() or 1)
    config.engine_cfg.inter_op_num_threads = 1
    try:
        return kind(config)
    except MemoryError as error:
        raise OutOfMemory from error
    except Exception as error:
        raise ModelLoadFailed from error


@dataclass(frozen=True, slots=True)
class _Zoom:
    """How a picture was enlarged: first by a factor, then by a border."""

    size: tuple[int, int]
    factor: float
    border_px: int

    def back(self, quad: NDArray[np.float32]) -> list[Point]:
        """Return the corners of a line in the picture as it came."""
        width, height = self.size
        plain = (quad - self.border_px) / self.factor
        return [(min(max(float(x), 0), width), min(max(float(y), 0), height)) for x, y in plain]


def _roomy(picture: Image.Image) -> tuple[Pixels, _Zoom]:
    """Return BGR pixels with room around: text that touches the edges, or is tiny, is not found."""
    import cv2
    import numpy as np

    size = picture.size
    factor = min(_LARGEST_FACTOR, max(1.0, _LEAST_SIDE_PX / min(size)))
    if factor > 1:
        picture = picture.resize((round(picture.width * factor), round(picture.height * factor)))
    border = min(_LEAST_SIDE_PX, max(_LEAST_BORDER_PX, min(picture.size)))
    pixels = np.ascontiguousarray(np.asarray(picture)[:, :, ::-1])
    edges = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    paper = np.median(edges, axis=0).tolist()
    bordered = cv2.copyMakeBorder(
        pixels, border, border, border, border, cv2.BORDER_CONSTANT, value=paper
    )
    return cast("Pixels", bordered), _Zoom(size, factor, border)


def _cut_out(pixels: Pixels, quad: NDArray[np.float32]) -> tuple[Pixels, bool]:
    """Return a line laid flat, and whether it runs up or down in the picture."""
    from rapidocr.utils.process_img import get_rotate_crop_image

    strip: Pixels = get_rotate_crop_image(pixels, quad.astype("float32").copy())
    top, _, _, left_bottom = quad
    across = float(((quad[1] - top) ** 2).sum()) ** 0.5
    down = float(((left_bottom - top) ** 2).sum()) ** 0.5
    return strip, int(max(down, 1)) / int(max(across, 1)) >= 1.5


def _decide(verdicts: Sequence[float]) -> bool:
    """Let the lines vote: single ones are often mistaken, a page is rarely."""
    return sum(verdicts) > 0


def _strip(pixels: Pixels, corners: list[Point], *, tall: bool, flipped: bool) -> Strip:
    """Put the corners into the order of one who reads, and the line on its feet."""
    import numpy as np

    start = (1 if tall else 0) + (2 if flipped else 0)
    if flipped:
        pixels = np.ascontiguousarray(np.rot90(pixels, 2))
    a, b, c, d = corners[start:] + corners[:start]
    return Strip(Span((a, b, c, d)), pixels)
