"""Run real models on this machine's GPU: ``python -m benchmarks.gpu_check [ID …]``.

Without an ID those of the profile that suits the GPU. Each model is loaded in a process of its own,
as a worker is, answers a request whose answer can be judged, and must answer it the same way
again. Where there is no GPU it says so loudly and fails: nothing was checked.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from bot.doctor import propose
from bot.engine.spool import Spool
from bot.engine.stepper import as_stepper
from bot.engine.worker import JobControl, installed_backend
from bot.hardware import read_hardware
from bot.settings import CONFIG_FOLDER, read_settings
from models.catalog import Catalog, EndpointSource, ModelSpec
from models.contracts import (
    ChatMessage,
    Finished,
    ImageRequest,
    ImageResult,
    MediaInput,
    Modality,
    Request,
    SpeechRequest,
    SpeechResult,
    Stepper,
    TextRequest,
    TextResult,
    TranscriptionRequest,
    TranscriptionResult,
    UpscalingRequest,
    UpscalingResult,
    VideoRequest,
    VideoResult,
    VisionRequest,
    VisionResult,
)
from models.errors import HandlerError
from models.weights import WeightStore, placed, remedy

OK, FAILED, NO_GPU = 0, 1, 2
_LIMIT_S = 3600
Judge = Callable[[Any], str]
"""Says what a result is, or raises ``_Unfit``."""

_SENTENCE = "The museum opens in the morning and closes in the evening."

_ALARM = """\
############################################################
##   NO GPU HERE. NOTHING WAS CHECKED.                    ##
############################################################
PyTorch sees no CUDA device: {reason}.
`python -m bot doctor` shows what this machine has. The tests without a GPU are `make test`."""


def main() -> int:
    """Check models and return 0 when every one did its work."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check", description=__doc__)
    parser.add_argument("ids", nargs="*", metavar="ID")
    parser.add_argument("--device", default="cuda:0", help="cpu tries the checks themselves")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.device != "cpu" and (reason := _why_no_gpu()):
        print(_ALARM.format(reason=reason), file=sys.stderr)
        return NO_GPU
    catalog = Catalog.read(CONFIG_FOLDER)
    if options.one:
        print(json.dumps(_check(catalog, catalog.get(options.ids[0]), options.device)))
        return OK
    profile = propose(read_hardware(), catalog.profiles)
    chosen = [*map(catalog.get, options.ids)] or catalog.of_profile(profile)
    return _report(chosen, WeightStore(read_settings().models_dir), options.device)


def _why_no_gpu() -> str:
    try:
        import torch
    except ImportError:
        return "PyTorch is not installed"
    if torch.cuda.is_available():
        return ""
    return f"PyTorch {torch.__version__} finds no driver or no device"


def _report(specs: list[ModelSpec], store: WeightStore, device: str) -> int:
    code = OK
    for spec in specs:
        print(f"{spec.modality:<14}{spec.id:<28}", end="", flush=True)
        if isinstance(spec.source, EndpointSource):
            print("skipped: it is computed elsewhere")
            continue
        said = _in_a_process(spec, device) if store.is_installed(spec) else {"failed": remedy(spec)}
        if "failed" in said:
            code = FAILED
            print(f"FAILED: {said['failed']}")
        else:
            print(
                f"fine: {said['judged']}; loaded in {said['load_s']:.0f} s, answered in "
                f"{said['run_s']:.1f} s, {said['memory_mb']} MB of the GPU at most"
            )
    print("\nEvery model did its work." if code is OK else "\nSome did not do their work.")
    return code


def _in_a_process(spec: ModelSpec, device: str) -> dict[str, Any]:
    """Check a model apart, so that its memory is free for the next, and a crash is one failure."""
    command = [sys.executable, "-m", "benchmarks.gpu_check", "--one", "--device", device, spec.id]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_LIMIT_S, check=False
        )
        said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return {"failed": f"no answer within {_LIMIT_S} s"}
    except (IndexError, ValueError):
        return {"failed": f"it ended with {done.returncode}:\n{done.stderr[-2000:]}"}
    return said


def _check(catalog: Catalog, spec: ModelSpec, device: str) -> dict[str, Any]:
    """Load a model, run it twice, judge what it made."""
    store = WeightStore(read_settings().models_dir.absolute())
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder))
        try:
            request, judge = _task(catalog, store, spec, spool)
            begun = time.monotonic()
            stepper = _loaded(catalog, store, spec, device)
            loaded = time.monotonic()
            result = _run(stepper, request, spool)
            ended = time.monotonic()
            judged = judge(result)
            if _comparable(_run(stepper, request, spool)) != _comparable(result):
                raise _Unfit("the same request gave another result")
            if isinstance(request, TextRequest) and stepper.slots > 1:
                judged += _shared(stepper, request, judge, spool)
            stepper.close()
        except (_Unfit, HandlerError) as error:
            return {"failed": f"{error} {error.__cause__ or ''}".strip()}
    return {
        "judged": judged,
        "load_s": loaded - begun,
        "run_s": ended - loaded,
        "memory_mb": _peak_mb(device),
    }


class _Unfit(Exception):
    """What a model made is not what was asked for."""


def _loaded(catalog: Catalog, store: WeightStore, spec: ModelSpec, device: str) -> Stepper:
    load = installed_backend(spec.backend)
    return as_stepper(load(placed(spec, store, catalog.tools), store.locate(spec), device))


def _run(stepper: Stepper, request: Request, spool: Spool) -> Any:
    [result] = _run_together(stepper, request, 1, spool)
    return result


def _run_together(stepper: Stepper, request: Request, jobs: int, spool: Spool) -> list[Any]:
    """Ask the same several times at once, and return what came of it in the order of its end."""
    for number in range(jobs):
        stepper.admit(f"check {number}", request, JobControl(spool))
    results: list[Any] = []
    while len(results) < jobs:
        for _, event in stepper.step():
            if isinstance(event, Exception):
                raise event
            if isinstance(event, Finished):
                results.append(event.result)
    return results


def _shared(stepper: Stepper, request: TextRequest, judge: Judge, spool: Spool) -> str:
    """Judge answers that share steps, which those with a seed may not; say what that gains."""
    jobs, unseeded = min(stepper.slots, 8), replace(request, seed=None)
    begun = time.monotonic()
    _run(stepper, unseeded, spool)
    alone_s, begun = time.monotonic() - begun, time.monotonic()
    for result in _run_together(stepper, unseeded, jobs, spool):
        judge(result)
    return f", {jobs} at once {jobs * alone_s / (time.monotonic() - begun):.1f} x as fast"


def _comparable(result: Any) -> Any:
    """Return what two runs with one seed must have in common."""
    if isinstance(result, TextResult):
        return result.text
    if isinstance(result, ImageResult):
        return [picture.media.sha256 for picture in result.pictures]
    if isinstance(result, VideoResult):
        return result.media.sha256
    if isinstance(result, VisionResult):
        return [answer.text for answer in result.answers]
    return result.duration_s if isinstance(result, SpeechResult) else result.segments


def _peak_mb(device: str) -> int:
    if device == "cpu" or "torch" not in sys.modules:
        return 0
    import torch

    return int(torch.cuda.max_memory_allocated(device)) // 1_000_000


# --------------------------------------------------------------------------- what is asked of each


def _task(
    catalog: Catalog, store: WeightStore, spec: ModelSpec, spool: Spool
) -> tuple[Request, Judge]:
    match spec.modality:
        case Modality.TEXT:
            question = ChatMessage("user", "What is the capital of France? Answer in a sentence.")
            return TextRequest((question,), temperature=0, seed=1), _names_paris
        case Modality.IMAGE:
            side = int(spec.options.get("side_px", 1024))
            prompt = "a red lighthouse on a cliff under a clear sky, photograph"
            return ImageRequest(prompt, width_px=side, height_px=side, seed=1), _has_a_picture(
                spool
            )
        case Modality.UPSCALING:
            return _upscaling_task(spool)
        case Modality.VIDEO:
            return VideoRequest("waves roll onto a beach", seconds=2, seed=1), _has_a_clip
        case Modality.VISION:
            return _vision_task(spec, spool)
        case Modality.SPEECH:
            return SpeechRequest(_SENTENCE, seed=1), _can_be_heard
        case Modality.TRANSCRIPTION:
            spoken = _run(
                _loaded(catalog, store, catalog.get("hibari"), "cpu"),
                SpeechRequest(_SENTENCE, seed=1),
                spool,
            )
            return TranscriptionRequest(spoken.media), _reads_the_sentence


def _names_paris(result: TextResult) -> str:
    if "paris" not in result.text.lower():
        raise _Unfit(f"it does not know the capital of France: {result.text[:200]!r}")
    return f"{result.usage.amount:.0f} tokens"


def _has_a_picture(spool: Spool) -> Judge:
    def judge(result: ImageResult) -> str:
        import numpy as np
        from PIL import Image

        with Image.open(spool.checked_path(result.pictures[0].media)) as image:
            pixels = np.asarray(image.convert("RGB"), np.float32)
        if pixels.std() < 10:
            raise _Unfit(
                f"the picture is all but one colour: its pixels vary by {pixels.std():.1f}"
            )
        return f"{pixels.shape[1]} × {pixels.shape[0]} pixels"

    return judge


def _has_a_clip(result: VideoResult) -> str:
    if result.frames < 9 or result.media.size_bytes < 10_000:
        raise _Unfit(f"{result.frames} frames of {result.media.size_bytes} bytes are no clip")
    return f"{result.frames} frames of {result.width_px} × {result.height_px}"


def _drawn(spool: Spool, words: str = "") -> MediaInput:
    """Store a picture of a red circle, or of words."""
    import io

    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("RGB", (640, 360), "white")
    pen = ImageDraw.Draw(picture)
    if words:
        pen.text((40, 130), words, font=ImageFont.load_default(size=72), fill="black")
    else:
        pen.ellipse((220, 80, 420, 280), fill="red")
    file = io.BytesIO()
    picture.save(file, "PNG")
    return spool.store(file.getvalue(), "check.png", "image/png")


def _upscaling_task(spool: Spool) -> tuple[Request, Judge]:
    media = _drawn(spool)

    def judge(result: UpscalingResult) -> str:
        import numpy as np
        from PIL import Image

        with Image.open(spool.checked_path(media)) as small:
            wanted = np.asarray(small.resize((2 * small.width, 2 * small.height)), np.float32)
        with Image.open(spool.checked_path(result.picture.media)) as large:
            pixels = np.asarray(large, np.float32)
        if pixels.shape != wanted.shape or np.abs(pixels - wanted).mean() > 10:
            raise _Unfit(f"{pixels.shape[1]} × {pixels.shape[0]} pixels do not show the picture")
        return f"{pixels.shape[1]} × {pixels.shape[0]} pixels"

    return UpscalingRequest(media), judge


def _vision_task(spec: ModelSpec, spool: Spool) -> tuple[Request, Judge]:
    reads = "ocr" in spec.capabilities
    media = _drawn(spool, "INVOICE 2026" if reads else "")
    task = "ocr" if reads else "question" if "question" in spec.capabilities else "caption"
    question = "What colour is the circle?" if task == "question" else ""
    wanted = "2026" if reads else "red"

    def judge(result: VisionResult) -> str:
        text = result.answers[0].text
        if wanted not in text.lower():
            raise _Unfit(f"{wanted!r} is not in what it says: {text[:200]!r}")
        return repr(text[:60])

    return VisionRequest((media,), task, question), judge  # type: ignore[arg-type]


def _can_be_heard(result: SpeechResult) -> str:
    if not 1 < result.duration_s < 15 or max(result.waveform) < 50:
        raise _Unfit(f"{result.duration_s:.1f} s is no such sentence, or nothing is heard")
    return f"{result.duration_s:.1f} s of sound"


def _reads_the_sentence(result: TranscriptionResult) -> str:
    heard = result.text.lower()
    missing = [word for word in ("museum", "opens", "morning", "evening") if word not in heard]
    if len(missing) > 1:
        raise _Unfit(f"it heard {result.text[:200]!r}")
    return repr(result.text[:60])


if __name__ == "__main__":
    sys.exit(main())
