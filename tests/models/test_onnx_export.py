"""An exported graph gives, in ONNX Runtime and for any batch, what the network gives in PyTorch."""

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from models.bundle import read_bundle
from models.errors import BundleError
from models.manifest import Architecture, EncoderSpec, InputSpec
from models.onnx_export import OnnxExport, export_onnx, write_exported
from models.runtime import load_encoder, save_encoder
from tests.models.bundles import REPORTS, contents, make_calibration
from tests.models.encoders import save
from tests.models.networks_by_name import TINY_VIT, new_network

pytestmark = pytest.mark.usefixtures("one_thread")

NETWORKS = ("character_net", "mobilefacenet", "osnet_x0_25", "small_resnet", "transformers")
SIZES = {"character_net": (40, 50), "mobilefacenet": (112, 112), "transformers": (48, 48)}
D = 6
STATED: dict[str, Any] = {
    "description": "For tests.",
    "intended_use": "None.",
    "licence": "Apache-2.0",
    "evaluation": {"rank_1": 0.5},
    "calibration": make_calibration(),
    "training": {"steps": 3},
}
OF_A_STAND_IN = EncoderSpec(
    name="stand-in",
    architecture=Architecture(name="small_resnet"),
    input=InputSpec(height=4, width=6, mean=(1, 2, 3), std=(4, 5, 6)),
    dimension=D,
    normalize=False,
    metric="euclidean",
)


def small_bundle(folder: Path, name: str, *, neck: bool, **given: Any) -> nn.Module:
    """Write a bundle of a small network with running statistics that are not those of a new one."""
    grey = name == "character_net"
    height, width = SIZES.get(name, (32, 24))
    params: dict[str, Any] = {"dimension": D, "channels": 1 if grey else 3}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = new_network(name, neck=neck, **params).train()
        network(torch.rand(8, params["channels"], height, width))
    if name == "transformers":
        params["config"] = TINY_VIT
    depth = params["channels"]
    spec = EncoderSpec(
        name="small",
        architecture=Architecture(name=name, params=params | {"neck": neck}),
        input=InputSpec(
            height=height,
            width=width,
            channels="grey" if grey else given.pop("channels", "rgb"),
            mean=(120.0, 110.0, 100.0)[:depth],
            std=(60.0, 50.0, 40.0)[:depth],
        ),
        dimension=D,
        **{"normalize": True, "metric": "cosine"} | given,
    )
    pictures = np.random.default_rng(1).integers(0, 256, (3, height, width, depth)).astype(np.uint8)
    save_encoder(folder, spec, network.state_dict(), pictures, reports=REPORTS)
    return network.eval()


Exporting: TypeAlias = Callable[[str, bool], tuple[Path, nn.Module, OnnxExport]]


@pytest.fixture(scope="module")
def exporting(tmp_path_factory: pytest.TempPathFactory) -> Exporting:
    """Return a function that gives a bundle, its network and its graph; exporting takes seconds, once."""

    @cache
    def export(name: str, neck: bool) -> tuple[Path, nn.Module, OnnxExport]:
        folder = tmp_path_factory.mktemp("exported") / "b"
        given = {} if neck else {"channels": "bgr", "normalize": False, **STATED}
        network = small_bundle(folder, name, neck=neck, **given)
        return folder, network, export_onnx(folder)

    return export


@pytest.mark.parametrize(("name", "neck"), [*((name, True) for name in NETWORKS), ("small_resnet", False)])
def test_the_graph_gives_what_the_network_gives_for_any_batch(
    exporting: Exporting, name: str, neck: bool
) -> None:
    if name == "transformers":
        pytest.importorskip("transformers", reason="needs the extra: transformers")
    _, network, exported = exporting(name, neck)
    assert exported.difference <= 1e-4
    for path in (str(Path(__file__).parents[2]), sys.prefix):
        assert path.encode() not in exported.graph
    session = ort.InferenceSession(exported.graph, providers=["CPUExecutionProvider"])
    channels, (height, width) = 1 if name == "character_net" else 3, SIZES.get(name, (32, 24))
    for size in (1, 2, 7):
        x = torch.randn(size, channels, height, width, generator=torch.Generator().manual_seed(size))
        with torch.no_grad():
            expected = network(x).numpy()
        (got,) = session.run(["embeddings"], {"pictures": x.numpy()})
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_an_exported_bundle_says_what_its_source_says(exporting: Exporting, tmp_path: Path) -> None:
    folder, _, exported = exporting("small_resnet", False)
    encoder = write_exported(exported, tmp_path / "x")
    source, bundle = read_bundle(folder), read_bundle(tmp_path / "x")
    small_bundle(tmp_path / "b", "small_resnet", neck=False, channels="bgr", normalize=False, **STATED)
    assert contents(tmp_path / "b") == contents(folder)  # it stayed as it was made
    same = {"name", "input", "dimension", "normalize", "metric", *STATED}
    assert bundle.manifest.model_dump(include=same) == source.manifest.model_dump(include=same)
    assert bundle.manifest.derived_from == source.manifest.fingerprint != bundle.manifest.fingerprint
    assert bundle.reports == REPORTS
    np.testing.assert_array_equal(bundle.inputs, source.inputs)
    np.testing.assert_array_equal(bundle.outputs, source.outputs)
    assert encoder.engine.name == "onnxruntime"
    by_torch = load_encoder(folder, device="cpu").encode(source.inputs[:2])
    np.testing.assert_allclose(encoder.encode(source.inputs[:2]), by_torch, rtol=1e-4, atol=1e-5)


def test_a_graph_is_valid_repeats_and_names_no_place_on_this_machine(exporting: Exporting) -> None:
    folder, _, exported = exporting("small_resnet", True)
    first = exported.graph
    assert first == export_onnx(folder).graph
    onnx.checker.check_model(onnx.load_from_string(first), full_check=True)
    for path in (str(Path(__file__).parents[2]), sys.prefix, ".py", "stack_trace"):
        assert path.encode() not in first


def test_a_graph_that_gives_other_embeddings_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A layer that behaves otherwise while it is exported stands for an exporter's mistake.
    class Moody(nn.Module):
        dimension = D

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            factor = 1.05 if torch.compiler.is_exporting() else 1.0
            return x.flatten(1)[:, :D] * factor

    monkeypatch.setattr("models.runtime.build_network", lambda *_, **__: Moody())
    save_encoder(tmp_path / "b", OF_A_STAND_IN, {}, np.full((1, 4, 6, 3), 50, np.uint8))
    with pytest.raises(BundleError, match=r"differ by 0\.05 of their length, and 0\.01 is the most"):
        export_onnx(tmp_path / "b")


def test_a_network_that_cannot_be_exported_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Branching(nn.Module):
        dimension = D

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x.flatten(1)[:, :D]
            return y if bool(y.sum() > 0) else -y  # a choice that depends on the picture

    monkeypatch.setattr("models.runtime.build_network", lambda *_, **__: Branching())
    save_encoder(tmp_path / "b", OF_A_STAND_IN, {}, np.full((1, 4, 6, 3), 50, np.uint8))
    with pytest.raises(BundleError, match=r"cannot be exported to ONNX: [^\n]+$"):
        export_onnx(tmp_path / "b")


def test_a_graph_is_not_exported_again(tmp_path: Path) -> None:
    save(tmp_path / "b", "onnxruntime")
    with pytest.raises(BundleError, match="is a graph for ONNX Runtime already"):
        export_onnx(tmp_path / "b")


def test_without_the_extra_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_bundle(tmp_path / "b", "small_resnet", neck=False)
    monkeypatch.setitem(sys.modules, "onnxscript", None)  # importing it then fails as if it were absent
    with pytest.raises(BundleError, match=r"needs onnxscript: in a checkout, pip install '\.\[onnx\]'"):
        export_onnx(tmp_path / "b")


def test_the_graph_says_how_it_is_used(tmp_path: Path) -> None:
    small_bundle(tmp_path / "b", "small_resnet", neck=False, channels="bgr", normalize=False)
    assert OnnxExport(read_bundle(tmp_path / "b"), b"", 0, 0.0).usage() == (
        "it takes (batch, 3, 32, 24) float32, bgr, from pixels of 0 to 255 minus 120, 110, 100 and divided "
        "by 60, 50, 40; embeddings are left as they are and compared by cosine."
    )
