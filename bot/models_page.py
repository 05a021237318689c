"""The page ``docs/models.md``: what the catalogue has, in one table, and what it cannot have.

This module owns the page's words. ``python -m bot models table`` prints it, and a test compares
it with the file.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Final

from models.catalog import Catalog, EndpointSource, ModelSpec, Weights

_BEFORE: Final = """\
# The models

This page is made from `config/models/*.toml`: `python -m bot models table > docs/models.md`.
Weights are fetched with `python -m bot models pull ID`; `/models` shows members which are here.

*How proven* says what the tests run. **real weights**: these very weights, from a package. **tiny
checkpoint**: a small checkpoint of the same architecture, in the files that its authors publish,
loaded and driven as the large one is; `make gpu-check` runs the large ones on a GPU of yours.
**stand-in**: a model that has the same inputs and outputs, and none of the layers between.
**loopback server**: a server on this machine that speaks the provider's API, with its refusals,
silences and failures.

"""

_AFTER: Final = """
Memory is what a worker needs with the model loaded; where parts of it wait in the machine's own
memory, what the GPU needs. *Commercial use* is whether the licence allows it, in our reading:
read the licence yourself before you rely on it. What you make with a hosted model is under its
provider's terms.

## Not here, and what to use instead

**Midjourney** has no public API, and its terms forbid automating it, so no bot can offer it
honestly; services that sell such access drive accounts against those terms. Use `z-image-turbo`,
`flux-schnell` or `sd-3.5-large` on a GPU of 16 to 24 GB, `sdxl` on one of 8 GB, or
`gpt-image-sunburst` as a hosted model. For its look, add a style: `/imagine` has presets that a
server can edit.

**DALL·E 2 and 3** were shut down by OpenAI on 12 May 2026. Their successors are the GPT Image
models: `gpt-image` answers where DALL·E did, `gpt-image-sunburst` is the finer one and edits
references.

**Sora**'s API was closed by OpenAI on 24 September 2026. Its row and its backend stay for servers
that speak the same API: change the address. `veo-3.1` is the hosted model that answers;
`wan-2.2-5b` and `cogvideox-2b` run on your own GPU under Apache-2.0.

## A model of your own

Copy a row of `config/models/` that is like it, such as `own-gguf`, `own-diffusion` or
`own-whisper`, and change the path. A library that is not here yet is [a package with a
backend](backends.md).
"""

_HEAD: Final = (
    "| for | family | models | licence | commercial use | memory | how proven |",
    "|---|---|---|---|---|---|---|",
)


def models_page(catalog: Catalog) -> str:
    """Return the page."""
    rows = [*_HEAD, *(_row(list(group)) for _, group in groupby(catalog.everything(), _likeness))]
    return _BEFORE + "\n".join(rows) + "\n" + _AFTER


def _likeness(spec: Weights) -> tuple[object, ...]:
    """Return what models that stand in one row have in common."""
    return _kind(spec), spec.family, spec.licence, spec.commercial_use, spec.proven


def _row(group: list[Weights]) -> str:
    first = group[0]
    cells = (
        _kind(first),
        first.family or first.name,
        ", ".join(f"`{spec.id}`" for spec in group),
        first.licence,
        "yes" if first.commercial_use else "no",
        _memory(group),
        first.proven or "not proven",
    )
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _kind(spec: Weights) -> str:
    return str(spec.modality) if isinstance(spec, ModelSpec) else "a tool of the others"


def _memory(group: Iterable[Weights]) -> str:
    here = [spec.memory_mb for spec in group if not isinstance(spec.source, EndpointSource)]
    if not here:
        return "elsewhere"
    least, most = min(here), max(here)
    return _size(least) if least == most else f"{_size(least)} to {_size(most)}"


def _size(memory_mb: int) -> str:
    return f"{memory_mb / 1000:.1f} GB" if memory_mb >= 1000 else f"{memory_mb} MB"
