"""Plain faster-whisper as a peer: a file, and what its first text and all of it took.

Nothing of ours is imported.
"""

from __future__ import annotations

import json
import resource
import sys
import time

from faster_whisper import BatchedInferencePipeline, WhisperModel


def main(model: str, file: str, threads: str) -> None:
    """Print ``{"first_text_s": ..., "peak_mb": ..., "work_s": ...}``; see ``Course``."""
    began = time.perf_counter()
    whisper = WhisperModel(model, compute_type="int8", cpu_threads=int(threads))
    loaded = time.perf_counter()
    segments, _ = BatchedInferencePipeline(whisper).transcribe(file, language="en", batch_size=8)
    next(iter(segments))
    first_text_s = time.perf_counter() - began
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for _ in segments:
        pass
    work_s = time.perf_counter() - loaded
    print(json.dumps({"first_text_s": first_text_s, "peak_mb": peak_mb, "work_s": work_s}))


if __name__ == "__main__":
    main(*sys.argv[1:])
