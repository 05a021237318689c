"""Weights from a hub: whole, resumed, compared. The hub is a server on loopback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import file_download

from models import hub as models_hub
from models.catalog import Catalog
from models.errors import ModelNotInstalled
from models.hub import PullFailed
from models.weights import WeightStore
from tests.models.hub_server import CONFIG, WEIGHTS, HubServer, spec

ROOT = Path(__file__).resolve().parents[2]
TINY = spec("config.json", "sub/*")


def test_what_is_wanted_is_fetched_whole(hub: HubServer, store: WeightStore) -> None:
    store.pull(TINY, print)
    place = Path(store.locate(TINY))
    assert (place / "config.json").read_bytes() == CONFIG
    assert (place / "sub" / "model.bin").read_bytes() == WEIGHTS
    assert not (place / "other.bin").exists()
    assert sorted(path.name for path in store.folder.iterdir()) == [".lock", "hub"]
    assert store.verify(TINY) == []
    store.pull(TINY, print)
    assert len(hub.sent) == 2


def test_progress_is_told_in_bytes_and_percent(
    hub: HubServer, store: WeightStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.files["sub/model.bin"] = bytes(25_000_000)
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 1_000_000)
    monkeypatch.setattr(models_hub, "_BAR_EVERY_S", 0)
    lines: list[str] = []
    store.pull(TINY, lines.append)
    bars = [line for line in lines if line.endswith("%")]
    assert f"tiny: [{'#' * 11}{'-' * 13}] 12.0 of 25.0 MB, 48 %" in bars
    assert bars[-1] == f"tiny: [{'#' * 24}] 25.0 of 25.0 MB, 100 %"
    assert len(set(bars)) == len(bars)
    assert "installed in" in lines[-1]


def test_a_single_file_is_located_itself(hub: HubServer, store: WeightStore) -> None:
    only = spec("sub/model.bin")
    store.pull(only, print)
    assert Path(store.locate(only)).read_bytes() == WEIGHTS


def test_a_connection_that_breaks_is_taken_up_again(hub: HubServer, store: WeightStore) -> None:
    hub.cut_after["sub/model.bin"] = 4000
    store.pull(TINY, print)
    assert hub.sent[1:] == [("sub/model.bin", 0), ("sub/model.bin", 4000)]
    assert store.verify(TINY) == []


@pytest.mark.parametrize("ranges", [True, False])
def test_a_pull_goes_on_where_the_one_before_ended(
    hub: HubServer, store: WeightStore, monkeypatch: pytest.MonkeyPatch, ranges: bool
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    hub.cut_after["sub/model.bin"] = 4000
    monkeypatch.setattr(file_download.time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.pull(TINY, print)
    assert not store.is_installed(TINY)
    with pytest.raises(ModelNotInstalled):
        store.locate(TINY)
    hub.sent.clear()
    hub.ranges = ranges
    lines: list[str] = []
    store.pull(TINY, lines.append)
    assert hub.sent == [("sub/model.bin", 4000 if ranges else 0)]
    assert store.verify(TINY) == []


def test_a_whole_process_that_is_killed_loses_nothing(hub: HubServer, store: WeightStore) -> None:
    """The endpoint comes from the environment, as an owner with a mirror sets it."""
    hub.cut_after["sub/model.bin"] = 4000
    script = (
        "import os, signal, sys; from pathlib import Path; from models.catalog import ModelSpec\n"
        "from huggingface_hub import constants, file_download\n"
        "from models.weights import WeightStore; constants.DOWNLOAD_CHUNK_SIZE = 1000\n"
        "file_download.time.sleep = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "spec = ModelSpec.model_validate_json(sys.argv[2])\n"
        "WeightStore(Path(sys.argv[1])).pull(spec, print)"
    )
    environment = {"HF_ENDPOINT": hub.url, "PATH": os.environ["PATH"], "HOME": str(store.folder)}
    done = subprocess.run(
        [sys.executable, "-c", script, str(store.folder), TINY.model_dump_json()],
        cwd=ROOT,
        env=environment,
        check=False,
    )
    assert done.returncode == -9
    store.pull(TINY, print)
    assert hub.sent[-1] == ("sub/model.bin", 4000)
    assert store.verify(TINY) == []


@pytest.mark.parametrize("name", ["config.json", "sub/model.bin"])
def test_a_file_that_differs_from_what_the_hub_recorded_is_thrown_away(
    hub: HubServer, store: WeightStore, name: str
) -> None:
    """Small texts have the checksum of git, large files one of their own."""
    hub.damaged.add(name)
    with pytest.raises(PullFailed, match=f"{name} .* arrived damaged"):
        store.pull(TINY, print)
    assert not store.is_installed(TINY)
    hub.damaged.clear()
    store.pull(TINY, print)
    assert store.verify(TINY) == []
    assert hub.sent[-1] == ("sub/model.bin", 0)


def test_damage_shows_later(hub: HubServer, store: WeightStore) -> None:
    store.pull(TINY, print)
    place = Path(store.locate(TINY))
    (place / "sub" / "model.bin").write_bytes(b"rotten")
    (place / "config.json").unlink()
    assert store.verify(TINY) == [
        "config.json is missing",
        "sub/model.bin differs from its checksum",
    ]
    (place / ".sha256.json").write_text(json.dumps("x")[:-1])
    assert store.verify(TINY)
    store.remove(TINY)
    store.pull(TINY, print)
    assert store.verify(TINY) == []


def test_removing_takes_what_was_begun_along(hub: HubServer, store: WeightStore) -> None:
    hub.damaged.add("sub/model.bin")
    with pytest.raises(PullFailed):
        store.pull(TINY, print)
    assert (store.folder / "unfinished").exists()
    store.remove(TINY)
    assert not list((store.folder / "unfinished").iterdir())
    hub.damaged.clear()
    store.pull(TINY, print)
    store.remove(TINY)
    assert not store.is_installed(TINY)
    assert not list((store.folder / "hub").iterdir())


def test_a_full_disk_is_noticed_before_the_hub_is_asked(
    hub: HubServer, store: WeightStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=90_000_000))
    large = TINY.model_copy(update={"download_mb": 100})
    with pytest.raises(PullFailed, match=r"needs 105 MB of free disk.*has 90 MB"):
        store.pull(large, print)
    assert hub.sent == []


def test_a_file_that_the_repository_has_not_fails_the_pull(
    hub: HubServer, store: WeightStore
) -> None:
    with pytest.raises(PullFailed, match=r"has no tokenizer\.json"):
        store.pull(spec("config.json", "tokenizer.json"), print)
    assert hub.sent == []


def test_a_gated_repository_says_what_to_do(hub: HubServer, store: WeightStore) -> None:
    hub.gated = True
    with pytest.raises(PullFailed, match=r"accept its licence.*HF_TOKEN"):
        store.pull(TINY, print)


def test_a_gated_row_wants_a_token_before_anything_is_fetched(
    hub: HubServer, store: WeightStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = spec("config.json", gated=True)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(PullFailed, match=r"owner/name is gated: accept its licence.*HF_TOKEN"):
        store.pull(row, print)
    assert hub.sent == []
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_x")
    store.pull(row, print)
    assert store.is_installed(row)


def test_no_profile_needs_a_gated_model() -> None:
    catalog = Catalog.read(ROOT / "config")
    sources = {
        spec.id: spec.source for name in catalog.profiles for spec in catalog.of_profile(name)
    }
    assert not [id_ for id_, source in sources.items() if getattr(source, "gated", False)]
    gated = [spec for spec in catalog.all() if getattr(spec.source, "gated", False)]
    assert {spec.id for spec in gated} >= {"flux-schnell", "sd-3.5-large"}
    assert all("Gated" in spec.description or "HF_TOKEN" in spec.description for spec in gated)


def test_an_unknown_repository_and_an_absent_hub_are_told(
    hub: HubServer, store: WeightStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PullFailed, match="The hub has no no/body"):
        store.pull(spec("x", repo="no/body"), print)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(PullFailed, match="pulling again goes on from there"):
        store.pull(TINY, print)


def test_a_name_that_leads_out_of_the_folder_is_refused(hub: HubServer, store: WeightStore) -> None:
    hub.files["../../escaped"] = b"x"
    with pytest.raises(PullFailed, match="outside its folder"):
        store.pull(spec("*"), print)
    assert not list(store.folder.parent.rglob("escaped"))
