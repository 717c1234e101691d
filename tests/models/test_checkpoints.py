"""Public state dicts: what is loaded, what is reported, and what is refused without a trace."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from models.checkpoints import Mismatch, load_checkpoint
from models.errors import BundleError
from models.networks import build_network
from tests.data import real_data

pytestmark = pytest.mark.usefixtures("one_thread")

Weights = dict[str, Tensor]


def network(seed: int = 0, *, neck: bool = False, dimension: int = 6) -> nn.Module:
    torch.manual_seed(seed)
    return build_network("osnet_x0_25", dimension=dimension, neck=neck)


def snapshot(module: nn.Module) -> Weights:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(first: Weights, second: Weights) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    """A network whose statistics are not those of a new one."""
    other = network(1)
    other(torch.randn(4, 3, 32, 32))
    return other


@pytest.fixture
def public(trained: nn.Module) -> Weights:
    """The weights of another network, statistics too, with a classifier that is in every public file."""
    return snapshot(trained) | {"classifier.weight": torch.ones(9, 6), "classifier.bias": torch.ones(9)}


def prefixed(weights: Weights, prefix: str) -> Weights:
    return {prefix + name: tensor for name, tensor in weights.items()}


FORMS: dict[str, Callable[[Weights, Path], object]] = {
    "bare.pth": torch.save,
    "old.pth": lambda weights, path: torch.save(weights, path, _use_new_zipfile_serialization=False),
    "weights.safetensors": save_file,
    "lightning.th": lambda weights, path: torch.save({"epoch": 3, "state_dict": weights}, path),
    "trainer.pt": lambda weights, path: torch.save({"model": weights, "iteration": 9}, path),
    "nested.pt": lambda weights, path: torch.save({"model": {"state_dict": weights}}, path),
    "parallel.pth": lambda weights, path: torch.save(prefixed(weights, "module."), path),
    "wrapped.pth": lambda weights, path: torch.save(prefixed(weights, "module.backbone."), path),
    "whole.bin": lambda weights, path: torch.save(prefixed(weights, "model."), path),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("neck", [False, True])
def test_every_form_loads_into_a_network_bare_or_with_a_neck(
    tmp_path: Path, public: Weights, form: str, neck: bool
) -> None:
    path = tmp_path / form
    FORMS[form](public, path)
    target = network(neck=neck)
    before = snapshot(target)
    report = load_checkpoint(target, path)
    prefix = "backbone." if neck else ""
    expected = before | prefixed(
        {name: tensor for name, tensor in public.items() if not name.startswith("classifier")}, prefix
    )
    assert same(snapshot(target), expected)
    assert len(report.matched) == len(public) - 2
    assert report.missing == (
        ("neck.weight", "neck.bias", "neck.running_mean", "neck.running_var") if neck else ()
    )
    assert [name.rpartition(".")[0].rpartition(".")[2] for name in report.unexpected] == ["classifier"] * 2
    assert report.mismatched == ()


def test_a_network_with_a_neck_gives_its_backbone_to_a_bare_one(tmp_path: Path) -> None:
    necked, bare = network(1, neck=True), network(0)
    torch.save(necked.state_dict(), tmp_path / "necked.pth")
    report = load_checkpoint(bare, tmp_path / "necked.pth")
    assert same(
        prefixed(snapshot(bare), "backbone."), {k: v for k, v in snapshot(necked).items() if "neck" not in k}
    )
    assert (report.share, report.missing) == (1.0, ())


def test_another_dimension_is_a_mismatch_and_the_rest_loads(tmp_path: Path, public: Weights) -> None:
    torch.save(public, tmp_path / "six.pth")
    target = network(dimension=10)
    before = snapshot(target)
    report = load_checkpoint(target, tmp_path / "six.pth")
    assert report.mismatched[0] == Mismatch("fc.0.weight", (10, 128), (6, 128))
    assert [name for name, _, _ in report.mismatched] == [
        f"fc.{name}"
        for name in ("0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var")
    ]
    after = snapshot(target)
    assert torch.equal(after["fc.0.weight"], before["fc.0.weight"])
    assert torch.equal(after["conv5.conv.weight"], public["conv5.conv.weight"])
    total = sum(parameter.numel() for parameter in target.parameters())
    assert (report.parameters, report.loaded) == (total, total - 10 * 128 - 3 * 10)


def test_the_report_reads_from_the_share_downwards(tmp_path: Path, public: Weights) -> None:
    del public["conv5.conv.weight"]
    torch.save(public, tmp_path / "six.pth")
    target = network(dimension=10)
    total = sum(parameter.numel() for parameter in target.parameters())
    loaded = total - 128 * 128 - 10 * 128 - 3 * 10
    lines = str(load_checkpoint(target, tmp_path / "six.pth")).splitlines()
    assert lines == [
        f"{100 * loaded / total:.1f}% of the network's parameters are from the checkpoint "
        f"({loaded:,} of {total:,}; {len(public) - 8} tensors).",
        "Not in the checkpoint, left as they were (1): conv5.conv.weight.",
        "Of another shape, left as they were (6): fc.0.weight (network (10, 128), file (6, 128)), "
        "fc.0.bias (network (10,), file (6,)), fc.1.weight (network (10,), file (6,)), "
        "fc.1.bias (network (10,), file (6,)), fc.1.running_mean (network (10,), file (6,)), "
        "fc.1.running_var (network (10,), file (6,)).",
        "In the checkpoint alone (2): classifier.weight, classifier.bias.",
    ]


def test_long_lists_of_names_are_cut(tmp_path: Path, public: Weights) -> None:
    torch.save({"conv1.conv.weight": public["conv1.conv.weight"]}, tmp_path / "stem.pth")
    report = load_checkpoint(network(), tmp_path / "stem.pth")
    line = str(report).splitlines()[1]
    assert line.endswith(f" ({len(report.missing)}): {', '.join(report.missing[:8])} and 476 more.")


def test_counters_that_old_files_lack_are_not_missed(tmp_path: Path, public: Weights) -> None:
    old = {name: tensor for name, tensor in public.items() if not name.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "old.pth")
    assert load_checkpoint(network(), tmp_path / "old.pth").missing == ()


def test_half_precision_weights_are_widened(tmp_path: Path, public: Weights) -> None:
    torch.save({name: tensor.half() for name, tensor in public.items()}, tmp_path / "half.pth")
    target = network()
    load_checkpoint(target, tmp_path / "half.pth")
    loaded = snapshot(target)["fc.0.weight"]
    assert loaded.dtype == torch.float32
    assert torch.equal(loaded, public["fc.0.weight"].half().float())


def test_of_a_network_that_a_file_holds_twice_the_one_of_the_same_names_counts(
    tmp_path: Path, public: Weights
) -> None:
    twice = {"module.fc.0.weight": torch.zeros(6, 128)} | public
    torch.save(twice, tmp_path / "twice.pth")
    target = network()
    report = load_checkpoint(target, tmp_path / "twice.pth")
    assert torch.equal(snapshot(target)["fc.0.weight"], public["fc.0.weight"])
    assert "module.fc.0.weight" in report.unexpected


def test_quantised_weights_are_not_taken_for_floating_point(tmp_path: Path, public: Weights) -> None:
    public["fc.0.weight"] = torch.ones(6, 128, dtype=torch.int8)
    torch.save(public, tmp_path / "int8.pth")
    target = network()
    before = snapshot(target)["fc.0.weight"]
    report = load_checkpoint(target, tmp_path / "int8.pth")
    assert (report.missing, "fc.0.weight" in report.unexpected) == (("fc.0.weight",), True)
    assert torch.equal(snapshot(target)["fc.0.weight"], before)


class Trainer:
    """Something that a pickle can only restore by running code."""


def _cut(weights: Weights, path: Path) -> None:
    torch.save(weights, path)
    path.write_bytes(path.read_bytes()[:20_000])


BROKEN: dict[str, tuple[Callable[[Weights, Path], object], str]] = {
    "object.pth": (
        lambda weights, path: torch.save({"state_dict": weights, "trainer": Trainer()}, path),
        r"holds more than tensors and could run code .* torch\.save\(model\.state_dict\(\), path\)",
    ),
    "module.pth": (lambda weights, path: torch.save(nn.Linear(2, 2), path), "holds more than tensors"),
    "plain.pth": (lambda weights, path: path.write_bytes(pickle.dumps(Trainer())), "is no checkpoint"),
    "text.pth": (lambda weights, path: path.write_text("hello"), "is no checkpoint"),
    "empty.pth": (lambda weights, path: path.touch(), "is no checkpoint"),
    "picture.pth": (
        lambda weights, path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50)),
        "is no checkpoint",
    ),
    "cut.pth": (_cut, "is no checkpoint, or a damaged one"),
    "absent.pth": (lambda weights, path: None, "cannot be read: No such file"),
    "folder.pth": (lambda weights, path: path.mkdir(), "cannot be read: Is a directory"),
    "text.safetensors": (lambda weights, path: path.write_text("hello"), "is not a safetensors file"),
    "absent.safetensors": (lambda weights, path: None, "cannot be read: No such file"),
    "tensor.pth": (lambda weights, path: torch.save(torch.ones(3), path), "holds no state dict"),
    "numbers.pth": (lambda weights, path: torch.save({"epoch": 3}, path), "holds no state dict"),
    "other.pth": (
        lambda weights, path: torch.save({"encoder.weight": torch.ones(3)}, path),
        "Nothing in .* fits this network. The file has names like encoder.weight; the network has conv1.conv",
    ),
    "shapes.pth": (
        lambda weights, path: torch.save({"conv1.conv.weight": torch.ones(3)}, path),
        "Nothing in .* fits",
    ),
    "nan.pth": (
        lambda weights, path: torch.save(weights | {"fc.1.bias": torch.full((6,), torch.nan)}, path),
        "fc.1.bias in .* holds NaN or infinity",
    ),
    "infinite.pth": (
        lambda weights, path: torch.save(
            weights | {"fc.1.bias": torch.full((6,), 1e300, dtype=torch.float64)}, path
        ),
        "fc.1.bias in .* holds NaN or infinity",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
# torch warns of a pickle that it did not write.
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_what_cannot_be_loaded_is_refused_and_changes_nothing(
    tmp_path: Path, public: Weights, name: str
) -> None:
    write, message = BROKEN[name]
    write(public, tmp_path / name)
    target = network()
    before = snapshot(target)
    with pytest.raises(BundleError, match=message):
        load_checkpoint(target, tmp_path / name)
    assert same(snapshot(target), before)


def test_torchvisions_resnet50_loads_whole(tmp_path: Path) -> None:
    torchvision = {
        name: torch.full_like(tensor, 0.5)
        for name, tensor in build_network("resnet50").state_dict().items()
        if name != "pooling.p"
    } | {"fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}
    torch.save(torchvision, tmp_path / "resnet50.pth")
    target = build_network("resnet50", neck=True)
    report = load_checkpoint(target, tmp_path / "resnet50.pth")
    assert report.unexpected == ("fc.weight", "fc.bias")
    assert report.missing[0] == "backbone.pooling.p"
    assert report.share > 0.999
    assert bool((target.state_dict()["backbone.layer4.2.conv3.weight"] == 0.5).all())


@pytest.mark.data
def test_a_real_file_of_another_architecture_is_refused_by_what_is_in_it() -> None:
    path = real_data("encoders") / "resnet56_cifar10.th"
    with pytest.raises(BundleError, match=r"The file has names like module\.conv1\.weight,"):
        load_checkpoint(build_network("resnet50"), path)
