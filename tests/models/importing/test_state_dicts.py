"""Public state dicts become encoders that give what the published network gives, or are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from models.errors import BundleError, OptionError
from models.images import Pixels
from models.importing import ImportOptions, ImportReport, import_encoder
from models.runtime import load_encoder
from tests.data import real_data
from tests.models.importing.published import (
    Shapes,
    Weights,
    fastreid_heads,
    norm_shapes,
    osnet_forward,
    osnet_shapes,
    random_weights,
    resnet50_features,
    resnet50_shapes,
)

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
WIDTHS = {
    "x0_25": (16, 64, 96, 128),
    "x0_5": (32, 128, 192, 256),
    "x0_75": (48, 192, 288, 384),
    "x1_0": (64, 256, 384, 512),
}
SMALL = (64, 32)


def take_in(tmp_path: Path, content: object, file: str = "weights.pth", **given: Any) -> ImportReport:
    path = tmp_path / file
    torch.save(content, path)
    return import_encoder(path, tmp_path / "bundle", ImportOptions(**{"name": "it", "size": SMALL} | given))


def pictures(size: tuple[int, int] = SMALL) -> Pixels:
    return np.random.default_rng(3).integers(0, 256, (3, *size, 3)).astype(np.uint8)


def assert_gives(
    bundle: Path,
    forward: Callable[[Tensor], Tensor],
    *,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
) -> None:
    given = pictures()
    x = (torch.tensor(given, dtype=torch.float32) - torch.tensor(mean)) / torch.tensor(std)
    with torch.inference_mode():
        expected: npt.NDArray[np.float32] = forward(x.permute(0, 3, 1, 2).contiguous()).numpy()
    expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.linalg.norm(expected[0] - expected[1]) > 1e-3  # the pictures can be told apart by it
    np.testing.assert_allclose(load_encoder(bundle, device="cpu").encode(given), expected, atol=2e-5)


@pytest.fixture(scope="module")
def narrow() -> Weights:
    return random_weights(osnet_shapes(WIDTHS["x0_25"]))


@pytest.mark.parametrize("width", WIDTHS)
def test_osnet_of_every_width_is_recognised_and_gives_its_embeddings(tmp_path: Path, width: str) -> None:
    weights = random_weights(osnet_shapes(WIDTHS[width]))
    manifest = take_in(tmp_path, weights).encoder.manifest
    assert manifest.architecture is not None
    assert (manifest.architecture.name, manifest.dimension) == (f"osnet_{width}", 512)
    assert (manifest.normalize, manifest.metric) == (True, "cosine")
    assert_gives(tmp_path / "bundle", lambda x: osnet_forward(weights, x))


def test_the_presets_numbers_stand_where_nothing_else_is_said(tmp_path: Path, narrow: Weights) -> None:
    spec = take_in(tmp_path, narrow, size=None).encoder.manifest.input
    assert (spec.height, spec.width, spec.channels, spec.resize) == (256, 128, "rgb", "bilinear")
    assert (spec.mean, spec.std) == (IMAGENET_MEAN, IMAGENET_STD)


def test_options_come_before_the_preset(tmp_path: Path, narrow: Weights) -> None:
    given: dict[str, Any] = {"mean": (0.5,), "std": (0.25,), "pixel_max": 1, "channels": "bgr"}
    manifest = take_in(
        tmp_path, narrow, **given, normalize=False, metric="euclidean", licence="MIT"
    ).encoder.manifest
    assert (manifest.input.mean, manifest.input.std) == ((127.5,) * 3, (63.75,) * 3)
    assert (manifest.input.channels, manifest.normalize) == ("bgr", False)
    assert (manifest.metric, manifest.licence) == ("euclidean", "MIT")


def test_every_wrapping_and_form_of_file_gives_the_same_encoder(tmp_path: Path, narrow: Weights) -> None:
    first = take_in(tmp_path, narrow).encoder.manifest.fingerprint
    module = {f"module.{name}": tensor for name, tensor in narrow.items()}
    lightning = {f"model.{name}": tensor for name, tensor in narrow.items()}
    assert take_in(tmp_path, {"state_dict": module, "epoch": 3}).encoder.manifest.fingerprint == first
    report = take_in(tmp_path, {"model": lightning}, "model.pth.tar-60")
    assert report.encoder.manifest.fingerprint == first
    save_file(narrow, tmp_path / "weights.safetensors")
    options = ImportOptions(name="it", size=SMALL)
    report = import_encoder(tmp_path / "weights.safetensors", tmp_path / "bundle", options)
    assert report.encoder.manifest.fingerprint == first
    assert report.notes[0].startswith("It is OSNet x0.25 with torchreid's names")
    assert report.notes[1] == "Left out, as no part of the encoder: classifier.bias, classifier.weight."


def test_torchvisions_resnet50_is_averaged_without_its_classifier(tmp_path: Path) -> None:
    shapes = resnet50_shapes() | {"fc.weight": (1000, 2048), "fc.bias": (1000,)}
    weights = random_weights(shapes)
    report = take_in(tmp_path, weights)
    assert "fc.weight, fc.bias" in report.notes[1]
    assert_gives(
        tmp_path / "bundle",
        lambda x: resnet50_features(weights, x, fastreid=False, last_stride=2).mean(dim=(2, 3)),
    )


def fastreid_weights(heads: Shapes, **kind: bool) -> Weights:
    backbone = {f"backbone.{name}": shape for name, shape in resnet50_shapes(**kind).items()}
    weights = random_weights(backbone | heads | {"heads.weight": (9, 2048)})
    for name in weights:
        if name.endswith(("g.weight", "theta.weight", "phi.weight")):
            weights[name] *= 0.05  # their product grows with the third power of the features
    weights["pixel_mean"] = torch.tensor([100.0, 110.0, 120.0]).view(1, 3, 1, 1)
    weights["pixel_std"] = torch.tensor([50.0, 60.0, 70.0]).view(1, 3, 1, 1)
    return weights


def of_fastreid(weights: Weights, *, after: bool) -> Callable[[Tensor], Tensor]:
    backbone = {name.removeprefix("backbone."): tensor for name, tensor in weights.items()}

    def forward(x: Tensor) -> Tensor:
        features = resnet50_features(backbone, x, fastreid=True, last_stride=1)
        return fastreid_heads(weights, features)[int(after)]

    return forward


@pytest.mark.parametrize("take", [None, "before-neck"])
def test_fastreids_bag_of_tricks_before_and_after_its_neck(tmp_path: Path, take: Any) -> None:
    weights = fastreid_weights(norm_shapes("heads.bottleneck.0", 2048))
    report = take_in(tmp_path, {"model": weights, "iteration": 9}, take=take)
    manifest = report.encoder.manifest
    assert (manifest.input.mean, manifest.input.std) == ((100.0, 110.0, 120.0), (50.0, 60.0, 70.0))
    assert manifest.input.resize == "bicubic"
    assert any("the mean is taken" in note for note in report.notes)
    assert any("heads.weight" in note for note in report.notes)
    forward = of_fastreid(weights, after=take is None)
    assert_gives(tmp_path / "bundle", forward, mean=manifest.input.mean, std=manifest.input.std)


def test_fastreids_ibn_non_local_generalised_mean_and_reduction(tmp_path: Path) -> None:
    heads: Shapes = {"heads.pool_layer.p": (1,), "heads.bottleneck.0.weight": (24, 2048, 1, 1)}
    weights = fastreid_weights(heads | norm_shapes("heads.bottleneck.1", 24), ibn=True, non_local=True)
    weights["heads.pool_layer.p"] = torch.tensor([2.7])
    manifest = take_in(tmp_path, {"model": weights}).encoder.manifest
    assert manifest.architecture is not None
    assert (manifest.architecture.name, manifest.dimension) == ("resnet50_ibn", 24)
    forward = of_fastreid(weights, after=True)
    assert_gives(tmp_path / "bundle", forward, mean=manifest.input.mean, std=manifest.input.std)


def _cut(weights: Weights) -> Weights:
    return {name: value for name, value in weights.items() if "conv5" not in name}


REFUSED: list[tuple[Callable[[Weights], object], dict[str, Any], str]] = [
    (_cut, {}, r"OSNet x0\.25 .* not all of it fits.*missing are conv5\.conv\.weight"),
    (lambda w: w | {"conv2.0.IN.weight": torch.ones(64)}, {}, r"no place is for conv2\.0\.IN\.weight"),
    (
        lambda w: w | {"conv5.conv.weight": torch.ones(128, 64, 1, 1)},
        {},
        r"conv5\.conv\.weight has the shape \(128, 64, 1, 1\) and \(128, 128, 1, 1\) is needed",
    ),
    (lambda w: w | {"fc.0.bias": torch.full((512,), torch.nan)}, {}, "holds NaN or infinity"),
    (lambda w: {"weights": w, "trainer": Path("x")}, {}, "could run code when read"),
    (lambda w: {"epoch": 3}, {}, "holds no state dict"),
    (lambda w: {"a.weight": torch.ones(2), "b": torch.ones(1)}, {}, "names like a.weight, b.*OSNet"),
    (lambda w: w, {"output": "x"}, "--output is for ONNX graphs"),
]


@pytest.mark.parametrize(("change", "given", "message"), REFUSED)
def test_what_would_be_another_encoder_is_refused(
    tmp_path: Path, narrow: Weights, change: Callable[[Weights], object], given: dict[str, Any], message: str
) -> None:
    with pytest.raises((BundleError, OptionError), match=message):
        take_in(tmp_path, change(narrow), **given)
    assert not (tmp_path / "bundle").exists()


def test_a_choice_that_the_network_does_not_offer_is_refused(tmp_path: Path, narrow: Weights) -> None:
    with pytest.raises(OptionError, match="--take cls does not go with OSNet"):
        take_in(tmp_path, narrow, take="cls")


def test_fastreid_without_a_neck_asks_for_before_neck(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="add --take before-neck"):
        take_in(tmp_path, {"model": fastreid_weights({})})


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_torchscript_archive_is_refused_by_what_it_is(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "net.pt")
    with pytest.raises(BundleError, match="is a TorchScript archive, which holds code"):
        import_encoder(tmp_path / "net.pt", tmp_path / "bundle", ImportOptions(name="it"))


@pytest.mark.data
def test_a_real_network_of_another_kind_is_described_and_refused(tmp_path: Path) -> None:
    path = real_data("encoders") / "resnet56_cifar10.th"
    with pytest.raises(BundleError, match=r"a ResNet of 9 \+ 9 \+ 9 basic blocks .*can be imported"):
        import_encoder(path, tmp_path / "bundle", ImportOptions(name="it"))
