"""Files of weights as training frameworks write them, read as data; what does not fit is told at once."""

from __future__ import annotations

import copy
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cases import cases
from layerlink.errors import LayerlinkError, UsageError
from layerlink.files.weights import PREFIXES, WRAPPINGS, load_weights, read_file


class Net(nn.Module):
    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.body, self.norm, self.head = nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 3, bias=False)
        self.tied = nn.Linear(3, 3, bias=False)
        self.tied.weight = self.head.weight


def same(first: nn.Module, second: nn.Module) -> bool:
    other = second.state_dict()
    return all(torch.equal(value, other[name]) for name, value in first.state_dict().items())


def wrapped(state: dict[str, Any], prefixes: list[str], wrappings: list[str], extra: bool) -> Any:
    for prefix in prefixes:
        state = {prefix + name: value for name, value in state.items()}
    found: Any = state
    for wrapping in wrappings:
        found = {wrapping: found, **({"epoch": 3, "optimizer": {"lr": 0.1}} if extra else {})}
    return found


@given(
    st.lists(st.sampled_from(PREFIXES), max_size=3),
    st.lists(st.sampled_from(WRAPPINGS), max_size=2),
    st.booleans(),
    st.sampled_from([".pt", ".pth", ".bin", ".ckpt"]),
)
@cases(2)
def test_wrappings_and_prefixes_are_taken_off_and_told(
    prefixes: list[str], wrappings: list[str], extra: bool, ending: str
) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"weights{ending}"
        torch.save(wrapped(dict(Net(1).state_dict()), prefixes, wrappings, extra), path)
        model = Net(0)
        said = load_weights(model, path)
    assert same(model, Net(1))
    assert bool(said) == bool(prefixes or wrappings)
    for name in (*set(prefixes), *set(wrappings)):
        assert name in said


def test_files_without_counters_with_one_of_tied_weights_and_of_compiled_parts(tmp_path: Path) -> None:
    state = dict(Net(1).state_dict())
    del state["norm.num_batches_tracked"]
    del state["tied.weight"]
    file = tmp_path / "few.safetensors"
    safetensors.torch.save_file({name: value.clone() for name, value in state.items()}, file)
    model = Net(0)
    assert load_weights(model, file) == ""
    assert torch.equal(model.tied.weight, Net(1).head.weight)
    parts = {name.replace("body.", "body._orig_mod."): value for name, value in Net(1).state_dict().items()}
    torch.save(parts, tmp_path / "compiled.pt")
    other = Net(0)
    assert "'_orig_mod.' taken off" in load_weights(other, tmp_path / "compiled.pt")
    assert same(other, Net(1))


def test_a_model_that_is_called_like_a_prefix_keeps_its_names(tmp_path: Path) -> None:
    outer = nn.ModuleDict({"model": Net(1)})
    torch.save(outer.state_dict(), tmp_path / "outer.pt")
    other = nn.ModuleDict({"model": Net(0)})
    assert load_weights(other, tmp_path / "outer.pt") == ""
    assert same(outer, other)


def test_what_does_not_fit_is_told_and_nothing_is_loaded(tmp_path: Path) -> None:
    state = dict(Net(1).state_dict())
    state["head.weight"] = torch.zeros(2, 3)
    del state["body.bias"]
    state["more"] = torch.zeros(1)
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, tmp_path / "other.pt")
    model = Net(0)
    before = copy.deepcopy(model)
    with pytest.raises(UsageError) as caught:
        load_weights(model, tmp_path / "other.pt")
    for text in ("body.bias is missing", "more is not in the model", "head.weight is (2, 3), the model's (3, 3)"):
        assert text in str(caught.value)
    assert same(model, before)


class Evil:
    def __reduce__(self) -> Any:
        return print, ("ran",)


def test_code_in_a_file_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": Net(1).state_dict(), "callback": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(LayerlinkError, match=r"is refused .*loading it could run code"):
        load_weights(Net(0), tmp_path / "evil.ckpt")
    assert capsys.readouterr().out == ""
    (tmp_path / "x.h5").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"must be one of \.safetensors, \.pt"):
        load_weights(Net(0), tmp_path / "x.h5")
    torch.save({"weights": 3}, tmp_path / "none.pt")
    with pytest.raises(UsageError, match="holds no state_dict of tensors, plain or as state_dict"):
        load_weights(Net(0), tmp_path / "none.pt")


def test_weights_that_would_fill_the_memory_are_not_unpacked(tmp_path: Path) -> None:
    torch.save({"body.weight": torch.zeros(200, 5000)}, tmp_path / "plain.pt")
    with zipfile.ZipFile(tmp_path / "plain.pt") as plain, zipfile.ZipFile(tmp_path / "bomb.pt", "w") as bomb:
        for name in plain.namelist():
            bomb.writestr(name, plain.read(name), zipfile.ZIP_DEFLATED)
    with pytest.raises(LayerlinkError, match=r"would unpack from [\d,]+ to 4,0[\d,]+ bytes"):
        read_file(tmp_path / "bomb.pt")
    assert read_file(tmp_path / "plain.pt")["body.weight"].shape == (200, 5000)


def test_a_file_of_weights_is_a_regular_one_and_of_its_folder(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    safetensors.torch.save_file({"weight": torch.ones(2)}, tmp_path / "mine.safetensors")
    (run / "student.safetensors").symlink_to("../mine.safetensors")
    with pytest.raises(LayerlinkError, match="leads out of"):
        load_weights(Net(0), run)
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(UsageError, match="there is no file"):
        load_weights(Net(0), tmp_path / "pipe.pt")
