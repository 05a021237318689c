"""Weights from a hub: whole, resumed, compared, converted. The hub is a server on loopback."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import file_download

from models import hub as models_hub
from models.catalog import Catalog, HubSource, ModelSpec, backend_entry_point
from models.contracts import VisionRequest, VisionResult
from models.errors import ModelNotInstalled
from models.hub import PullFailed
from models.pickles import convert_pickles
from models.weights import WeightStore
from tests.models import checkpoints, checkpoints_vision
from tests.models.control import ScratchControl, media_of, result_of, spec_of
from tests.models.hub_server import REPO, REVISION, HubServer

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = bytes(range(256)) * 40
CONFIG = b'{"model_type": "llama"}'


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    server = HubServer(files={"config.json": CONFIG, "sub/model.bin": WEIGHTS, "other.bin": b"x"})
    server.start()
    constants, real = huggingface_hub.constants, huggingface_hub.constants.ENDPOINT
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(real, server.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    monkeypatch.setattr(file_download.time, "sleep", lambda _: None)
    huggingface_hub.close_session()
    yield server
    huggingface_hub.close_session()
    server.stop()


@pytest.fixture
def store(tmp_path: Path) -> WeightStore:
    return WeightStore(tmp_path / "models")


def spec(*files: str, **source: Any) -> ModelSpec:
    row = {"kind": "hub", "repo": REPO, "revision": REVISION, "files": files}
    return spec_of("fake", "text", id="tiny", source=row | source)


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


# --------------------------------------------------------------------------- pickles


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return Path.touch, (self.file,)


PICKLED = spec("config.json", "pytorch_model.bin", convert_pickles=True)


def test_pickled_weights_become_safetensors_once(
    hub: HubServer, store: WeightStore, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file

    shared = torch.arange(6.0).reshape(2, 3)
    tensors = {"a": shared, "tied": shared, "turned": shared.T, "half": shared.half()}
    torch.save(tensors, tmp_path / "checkpoint")
    hub.files["pytorch_model.bin"] = (tmp_path / "checkpoint").read_bytes()
    lines: list[str] = []
    store.pull(PICKLED, lines.append)
    place = Path(store.locate(PICKLED))
    assert sorted(file.name for file in place.iterdir()) == [
        ".sha256.json",
        "config.json",
        "model.safetensors",
    ]
    found = load_file(place / "model.safetensors")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert store.verify(PICKLED) == []
    assert "tiny: converting pickled weights to safetensors" in lines


def test_a_converted_checkpoint_is_loaded_and_captions(
    hub: HubServer, store: WeightStore, tmp_path: Path
) -> None:
    """The row ``blip-base``, whose authors published a pickle alone, with a tiny BLIP."""
    import torch
    from safetensors.torch import load_file

    folder = checkpoints_vision.write_captioner(tmp_path / "blip")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    hub.files = {file.name: file.read_bytes() for file in folder.iterdir()}
    row = Catalog.read(ROOT / "config").get("blip-base")
    assert isinstance(row.source, HubSource)
    assert row.source.convert_pickles
    source = HubSource(repo=REPO, revision=REVISION, files=("*",))
    source = source.model_copy(update={"convert_pickles": True})
    blip = row.model_copy(update={"source": source, "download_mb": 1})
    store.pull(blip, print)
    handler = backend_entry_point(blip.backend).load()(blip, store.locate(blip), "cpu")
    control = ScratchControl(tmp_path)
    checkpoints_vision.drawing("red", "circle").save(tmp_path / "drawing.png")
    media = media_of(tmp_path / "drawing.png", "image/png")
    result = result_of(handler.run(VisionRequest((media,)), control))
    assert isinstance(result, VisionResult)
    assert result.answers[0].text.lower().rstrip(".") == "a red circle"
    handler.close()


@pytest.mark.parametrize(
    ("stem", "safe"), [("pytorch_model", "model"), ("diffusion_pytorch_model",) * 2]
)
def test_a_checkpoint_in_several_files_is_converted_file_by_file(
    stem: str, safe: str, hub: HubServer, store: WeightStore, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file

    tensors = {"a": torch.arange(3.0), "b": torch.ones(2, 2)}
    shards = {name: f"{stem}-0000{number}-of-00002.bin" for number, name in enumerate("ab", 1)}
    for name, file in shards.items():
        torch.save({name: tensors[name]}, tmp_path / "shard")
        hub.files[f"unet/{file}"] = (tmp_path / "shard").read_bytes()
    index = {"metadata": {"total_size": 28}, "weight_map": shards}
    hub.files[f"unet/{stem}.bin.index.json"] = json.dumps(index).encode()
    row = spec("unet/*.json", f"unet/{stem}-*.bin", convert_pickles=True)
    store.pull(row, print)
    place = Path(store.locate(row)) / "unet"
    found = json.loads((place / f"{safe}.safetensors.index.json").read_text())
    assert found["metadata"] == {"total_size": 28}
    assert sorted(file.name for file in place.iterdir()) == sorted(
        {f"{safe}.safetensors.index.json", *found["weight_map"].values()}
    )
    for name, file in found["weight_map"].items():
        assert torch.equal(load_file(place / file)[name], tensors[name])
    assert store.verify(row) == []


def test_converted_shards_are_what_transformers_loads(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    folder = checkpoints.write_random(tmp_path / "whole", "llama")
    model = AutoModelForCausalLM.from_pretrained(folder)
    names = sorted(model.state_dict())
    halves = {1: names[::2], 2: names[1::2]}
    for number, half in halves.items():
        file = folder / f"pytorch_model-0000{number}-of-00002.bin"
        torch.save({name: model.state_dict()[name] for name in half}, file)
    weight_map = {
        name: f"pytorch_model-0000{number}-of-00002.bin"
        for number, half in halves.items()
        for name in half
    }
    index = folder / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / "model.safetensors").unlink()
    convert_pickles(folder)
    again = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True)
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True)
    )


@pytest.mark.parametrize(
    ("index", "says"),
    [
        ('{"weight_map": {"a": "pytorch_model-00002-of-00002.bin"}}', "did not come"),
        ('{"weight_map": {"a": "../../pytorch_model.bin"}}', "did not come"),
        ('{"weight_map": {"a": 3}}', "no index of weights"),
        ("[]", "no index of weights"),
        ("nothing", "no index of weights"),
    ],
)
def test_an_index_that_does_not_fit_fails_the_pull(index: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin.index.json").write_text(index)
    with pytest.raises(PullFailed, match=says):
        convert_pickles(tmp_path)


def test_a_pickle_that_would_run_code_is_not_read(
    hub: HubServer, store: WeightStore, tmp_path: Path
) -> None:
    sprung = tmp_path / "sprung"
    hub.files["pytorch_model.bin"] = pickle.dumps({"a": Trap(sprung)})
    with pytest.raises(PullFailed, match="no plain checkpoint"):
        store.pull(PICKLED, print)
    assert not sprung.exists()
    assert not store.is_installed(PICKLED)
    pickle.loads(hub.files["pytorch_model.bin"])
    assert sprung.exists(), "the trap is none"


def test_what_is_not_tensors_by_name_is_refused(
    hub: HubServer, store: WeightStore, tmp_path: Path
) -> None:
    import torch

    torch.save({"epoch": 3}, tmp_path / "checkpoint")
    hub.files["pytorch_model.bin"] = (tmp_path / "checkpoint").read_bytes()
    with pytest.raises(PullFailed, match="more in it than tensors"):
        store.pull(PICKLED, print)


def test_the_catalogue_fetches_no_pickle_unconverted() -> None:
    row = {"repo": REPO, "revision": REVISION}
    with pytest.raises(ValueError, match="convert_pickles"):
        HubSource.model_validate({**row, "files": ["pytorch_model.bin"]})
    with pytest.raises(ValueError, match="convert_pickles"):
        HubSource.model_validate({**row, "files": ["unet/diffusion_pytorch_model-*.bin"]})
    with pytest.raises(ValueError, match="convert_pickles"):
        HubSource.model_validate({**row, "files": ["model.safetensors"], "convert_pickles": True})
