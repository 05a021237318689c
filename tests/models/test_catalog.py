"""The catalogue that ships, and what happens to one that is wrong."""

from pathlib import Path

import pytest

from bot.settings import CONFIG_FOLDER, Settings
from models.catalog import (
    BundledSource,
    Catalog,
    CatalogError,
    EndpointSource,
    HubSource,
    ModelSpec,
    PackageSource,
    PathSource,
    backend_entry_point,
)
from models.contracts import Modality
from models.errors import ModelUnavailable

ROW = """
[[model]]
id = "m"
name = "M"
modality = "text"
backend = "openai"
licence = "MIT"
commercial_use = true
memory_mb = 1
load_s = 1
source = {kind = "path", path = "x"}
"""


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.read(CONFIG_FOLDER)


def write(folder: Path, rows: str = ROW, profiles: str = "") -> Path:
    (folder / "models").mkdir()
    (folder / "models" / "text.toml").write_text(rows)
    (folder / "profiles.toml").write_text(profiles)
    return folder


def test_every_row_has_a_registered_backend(catalog: Catalog) -> None:
    for spec in catalog.all():
        assert backend_entry_point(spec.backend).value.startswith(f"models.{spec.modality}.")


def fetched_rows(catalog: Catalog, profile: str) -> list[ModelSpec]:
    """Return the rows that a profile may choose from: those that this machine can compute with."""
    if profile in ("embedded", "hosted"):
        return [s for s in catalog.all() if isinstance(s.source, PackageSource | BundledSource)]
    return [spec for spec in catalog.all() if not isinstance(spec.source, EndpointSource)]


def test_every_profile_serves_whatever_fits_into_its_memory(catalog: Catalog) -> None:
    assert set(catalog.profiles) == {"embedded", "cpu", "gpu-8gb", "gpu-24gb", "hosted"}
    for name, profile in catalog.profiles.items():
        fitting = {
            spec.modality
            for spec in fetched_rows(catalog, name)
            if spec.memory_mb <= profile.memory_mb and not isinstance(spec.source, PathSource)
        }
        # On a processor a resampler enlarges in a second what the models take minutes for.
        optional = set() if name.startswith("gpu") else {Modality.UPSCALING}
        assert fitting - optional <= set(profile.defaults), name
        for spec in catalog.of_profile(name):
            assert spec.memory_mb <= profile.memory_mb, (name, spec.id)
            assert not isinstance(spec.source, PathSource), (name, spec.id)


def test_what_a_fresh_machine_lacks_is_known(catalog: Catalog) -> None:
    missing = set(Modality) - set(catalog.profile("embedded").defaults)
    assert missing == {Modality.UPSCALING}


def test_tools_are_fetched_with_every_profile(catalog: Catalog) -> None:
    assert set(catalog.tools) == {"safety", "speakers", "phonemes"}
    assert catalog.limited(max_input_s=1).tools == catalog.tools
    for tool in catalog.tools.values():
        assert isinstance(tool.source, PackageSource)
        assert all(tool in catalog.needed_by(name) for name in catalog.profiles)
        assert catalog.weights(tool.id) is tool
        assert tool not in catalog.all()


def test_the_default_profile_comes_from_the_package_index_alone(catalog: Catalog) -> None:
    profile = catalog.profiles[Settings.model_fields["profile"].default]
    for model_id in profile.defaults.values():
        spec = catalog.get(model_id)
        assert isinstance(spec.source, PackageSource | BundledSource)
        assert spec.source.sha256
        assert spec.commercial_use


def test_what_is_fetched_says_how_much_it_is(catalog: Catalog) -> None:
    for spec in catalog.all():
        assert isinstance(spec.source, PackageSource | HubSource) == bool(spec.download_mb), spec.id


def test_what_is_listed_for_members_fits_into_discord(catalog: Catalog) -> None:
    for spec in catalog.all():
        assert len(spec.name) <= 100
        assert len(spec.description) <= 100, spec.id
        assert spec.description


def test_of_keeps_the_order_of_the_files(catalog: Catalog) -> None:
    assert catalog.of(Modality.TEXT)[0].id == "smollm2-135m"
    assert {spec.modality for spec in catalog.of(Modality.SPEECH)} == {Modality.SPEECH}


def test_an_unknown_model_is_one_clear_sentence(catalog: Catalog) -> None:
    with pytest.raises(ModelUnavailable, match="no model called `gpt-9`"):
        catalog.get("gpt-9")


def test_an_unregistered_backend_is_one_clear_sentence() -> None:
    with pytest.raises(ModelUnavailable, match="`nothing` is not installed"):
        backend_entry_point("nothing")


@pytest.mark.parametrize(
    ("rows", "profiles", "says"),
    [
        ("[[model]", "", r"text\.toml"),
        (ROW.replace('"text"', '"smell"'), "", "modality"),
        (ROW + 'surprise = "x"', "", "surprise"),
        ("[surprise]\nx = 1", "", "unknown: surprise"),
        ('[safety]\nid = "s"', "", "licence"),
        (
            ROW.replace(
                'kind = "path", path = "x"', 'kind = "hub", repo = "a/b", revision = "main"'
            ),
            "",
            "revision",
        ),
        (
            ROW,
            '[p]\ndescription = ""\nmemory_mb = 1\ndefaults = {speech = "m"}',
            "m is not a speech model",
        ),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, rows: str, profiles: str, says: str) -> None:
    with pytest.raises(CatalogError, match=says):
        Catalog.read(write(tmp_path, rows, profiles))
