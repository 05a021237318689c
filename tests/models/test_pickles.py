"""Checkpoints whose files are pickles, converted while they are pulled."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from models.catalog import Catalog, HubSource, backend_entry_point
from models.contracts import VisionRequest, VisionResult
from models.hub import PullFailed
from models.pickles import convert_pickles
from models.weights import WeightStore
from tests.models import checkpoints, checkpoints_vision
from tests.models.control import ScratchControl, media_of, result_of
from tests.models.hub_server import REPO, REVISION, HubServer, spec

ROOT = Path(__file__).resolve().parents[2]


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
