"""Weights files: what they say, that they load strictly, and how they are found."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import deblur_rednet
from deblur_cli.errors import MissingError, UsageError
from deblur_cli.host.manager import Host
from deblur_cli.weights import (
    Header,
    Training,
    load_network,
    read_header,
    read_tensors,
    resolve,
    write_weights,
)

MODEL = deblur_rednet.MODELS[0]


def test_what_is_written_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    network = MODEL.build(MODEL.tiny)
    first = Training(training_data=("mine",), specs={"gaussian": "0" * 64}, steps=3)
    header = Header(
        model="rednet30", options=dict(MODEL.tiny), licence="CC0", credits=("me",), steps=7, earlier=(first,)
    )
    path = tmp_path / "w.safetensors"
    write_weights(path, network.state_dict(), header)
    assert read_header(path) == header
    assert [training.steps for training in read_header(path).trainings()] == [3, 7]
    loaded = load_network(resolve(Host.discover(), str(path)))
    assert not loaded.training
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_a_file_builds_the_network_it_was_made_for(rednet_weights: Path) -> None:
    source = resolve(Host.discover(), str(rednet_weights))
    assert source.options == {"depth": 2, "width": 8}
    assert sum(p.numel() for p in load_network(source).parameters()) < 5000


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors: tensors.pop("output.bias"), "missing: output.bias"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "unexpected: extra"),
        (
            lambda tensors: tensors.update({"output.bias": torch.zeros(4)}),
            r"shape: output.bias is \(4,\), the network has \(3,\)",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(rednet_weights: Path, tmp_path: Path, change, said: str) -> None:
    tensors = read_tensors(rednet_weights)
    change(tensors)
    path = tmp_path / "changed.safetensors"
    write_weights(path, tensors, read_header(rednet_weights))
    with pytest.raises(UsageError, match=said):
        load_network(resolve(Host.discover(), str(path)))


def test_weights_of_another_model_are_refused(tmp_path: Path, run, identity) -> None:
    Path(tmp_path, "a.png").write_bytes(b"")
    done = run("a.png", "-m", "rednet30", "--weights", identity.weights["identity"], env=identity.env)
    assert done.code == 2
    assert "holds weights of identity, not of rednet30" in done.err


def test_files_that_are_no_weights_are_refused_in_one_line(tmp_path: Path) -> None:
    host = Host.discover()
    pickle, torn, strange, newer = (
        tmp_path / name for name in ("a.pth", "b.safetensors", "c.safetensors", "d.safetensors")
    )
    torch.save({}, pickle)
    torn.write_bytes(b"\x80\x00\x00\x00")
    save_file({"x": torch.zeros(1)}, strange)
    write_weights(newer, {"x": torch.zeros(1)}, Header(model="rednet30", format_version=99))
    for path, said in (
        (pickle, "pickle"),
        (torn, "not a readable safetensors file"),
        (strange, "does not say which model"),
        (newer, "upgrade deblur-cli"),
    ):
        with pytest.raises(UsageError, match=said):
            resolve(host, str(path))
    with pytest.raises(MissingError, match="does not exist"):
        resolve(host, str(tmp_path / "none.safetensors"))
    with pytest.raises(MissingError, match="no run folder"):
        resolve(host, str(tmp_path))
    (tmp_path / "run.json").write_text("{}")  # a training that has just begun
    with pytest.raises(MissingError, match="has no checkpoint yet"):
        resolve(host, str(tmp_path))


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("{not json", "is no JSON"),
        ("[1]", "no JSON object"),
        ('{"options": {}}', "no usable model"),
        ('{"model": 3}', "no usable model"),
        ('{"model": "rednet30", "options": [2]}', "no usable options"),
        ('{"model": "rednet30", "scores": "many"}', "no usable scores"),
        ('{"model": "rednet30", "earlier": {}}', "no usable earlier"),
        ('{"model": "rednet30", "earlier": ["first"]}', "no usable earlier"),
        ('{"model": "rednet30", "earlier": [{"steps": "many"}]}', "no usable steps"),
        ('{"model": "rednet30", "format_version": "new"}', "format new"),
        ('{"model": "rednet30", "format_version": 99}', "format 99"),
        ('{"model": "rednet30", "options": {"depth": "x"}}', "option depth is 'x'"),
        ('{"model": "rednet30", "options": {"foo": 3}}', "no option 'foo'"),
    ],
)
def test_a_damaged_header_is_refused_in_one_line(tmp_path: Path, header: str, said: str) -> None:
    path = tmp_path / "damaged.safetensors"
    save_file({"gain": torch.ones(1)}, path, metadata={"deblur": header})
    with pytest.raises(UsageError, match=said):
        resolve(Host.discover(), str(path))


@pytest.mark.parametrize("tag", ["nonsense", "v1.2"])
def test_an_unknown_tag_names_the_ones_there_are(tag: str) -> None:
    with pytest.raises(MissingError, match=rf"no weights '{tag}'; it has: "):
        resolve(Host.discover(), f"rednet30.{tag}")


def test_an_empty_name_of_a_model_is_refused() -> None:
    with pytest.raises(UsageError, match="the name of the model is empty"):
        resolve(Host.discover(), "")
