"""Engines and encoders: the numbers of a plain loop, and an error where a bundle is not what it says."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from torch import nn

from models.errors import BundleError, OptionError, ShapeError
from models.images import Pixels, decode
from models.manifest import Architecture, EncoderSpec, InputSpec, OnnxGraph
from models.networks import build_network
from models.runtime import OnnxEngine, TorchEngine, load_encoder, save_encoder
from tests.models.bundles import contents, edit_manifest
from tests.models.onnx_graphs import by_hand, encoder_graph
from tests.models.pictures import encoded, smooth

MEAN, STD = (120.0, 110.0, 100.0), (60.0, 50.0, 40.0)
PICTURES: Pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 10, 3)).astype(np.uint8)
BOTH = pytest.mark.parametrize("engine", ["pytorch", "onnxruntime"])


def onnx_spec(
    *, normalize: bool = True, batch: int | None = None, dimension: int = 5, **given: Any
) -> EncoderSpec:
    return EncoderSpec(
        name="graph",
        onnx=OnnxGraph(input="pictures", output="embedding", layout=given.pop("layout", "nchw"), batch=batch),
        input=InputSpec(**{"height": 8, "width": 10, "mean": MEAN, "std": STD} | given),
        dimension=dimension,
        normalize=normalize,
        metric="cosine",
    )


def torch_spec(*, normalize: bool = True, **given: Any) -> EncoderSpec:
    return EncoderSpec(
        name="network",
        architecture=Architecture(name="small_resnet", params={"dimension": 5}),
        input=InputSpec(**{"height": 8, "width": 10, "mean": MEAN, "std": STD} | given),
        dimension=5,
        normalize=normalize,
        metric="cosine",
    )


def network(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_network("small_resnet", dimension=5).eval()


def save(folder: Path, engine: str, **given: Any) -> Any:
    if engine == "pytorch":
        return save_encoder(folder, torch_spec(**given), network().state_dict(), PICTURES[:4])
    raw = encoder_graph().SerializeToString()
    return save_encoder(folder, onnx_spec(**given), raw, PICTURES[:4])


def torch_by_hand(net: nn.Module, *, bgr: bool = False, normalize: bool = False) -> npt.NDArray[np.float32]:
    rows = []
    for picture in PICTURES:
        x = torch.zeros(1, 3, 8, 10)
        for plane in range(3):
            source = 2 - plane if bgr else plane
            x[0, plane] = (torch.tensor(picture[:, :, source].astype(np.float32)) - MEAN[plane]) / STD[plane]
        with torch.no_grad():
            y = net(x)[0]
        rows.append((y / y.norm() if normalize else y).numpy())
    return np.stack(rows)


@pytest.mark.parametrize("bgr", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
@BOTH
def test_embeddings_are_those_of_a_plain_loop(
    tmp_path: Path, engine: str, normalize: bool, bgr: bool
) -> None:
    encoder = save(tmp_path / "b", engine, normalize=normalize, channels="bgr" if bgr else "rgb")
    if engine == "pytorch":
        expected = torch_by_hand(network(), bgr=bgr, normalize=normalize)
    else:
        raw = encoder_graph().SerializeToString()
        expected = by_hand(raw, PICTURES, mean=MEAN, std=STD, bgr=bgr, normalize=normalize)
    got = load_encoder(tmp_path / "b", device="cpu").encode(PICTURES)
    assert (encoder.engine.name, got.dtype) == (engine, np.float32)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("depth", [1, 3])
def test_layouts_and_grey_are_those_of_a_plain_loop(layout: Any, depth: int) -> None:
    raw = encoder_graph(layout=layout, depth=depth).SerializeToString()
    channels = {"channels": "grey"} if depth == 1 else {}
    spec = onnx_spec(layout=layout, mean=MEAN[:depth], std=STD[:depth], **channels)
    assert spec.onnx is not None
    pictures = PICTURES[..., :depth]
    expected = by_hand(raw, pictures, mean=MEAN[:depth], std=STD[:depth], nhwc=layout == "nhwc")
    got = OnnxEngine(raw, spec.onnx, spec.input).run(pictures)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_pytorch_takes_grey_pictures() -> None:
    spec = InputSpec(height=8, width=10, channels="grey", mean=(100,), std=(50,))
    got = TorchEngine(nn.Flatten(), spec, "cpu").run(PICTURES[..., :1])
    np.testing.assert_allclose(got, (PICTURES[..., 0].reshape(5, 80).astype(float) - 100) / 50, rtol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_a_graph_with_a_fixed_batch_is_fed_in_batches_of_that_size(count: int) -> None:
    raw = encoder_graph(batch=2, head="token").SerializeToString()
    spec = onnx_spec(batch=2)
    assert spec.onnx is not None
    got = OnnxEngine(raw, spec.onnx, spec.input).run(PICTURES[:count])
    np.testing.assert_allclose(got, by_hand(raw, PICTURES[:count], mean=MEAN, std=STD), rtol=1e-5, atol=1e-5)


@BOTH
def test_no_pictures_give_no_embeddings(tmp_path: Path, engine: str) -> None:
    got = save(tmp_path / "b", engine).encode(PICTURES[:0])
    assert (got.shape, got.dtype) == ((0, 5), np.float32)


@BOTH
def test_pixels_come_as_decoding_gives_them_or_as_views(tmp_path: Path, engine: str) -> None:
    encoder = save(tmp_path / "b", engine)
    decoded = decode(encoded(smooth(8, 10), "PNG"), (8, 10))
    np.testing.assert_array_equal(encoder.encode(decoded[None]), encoder.encode(smooth(8, 10)[None]))
    mirrored = PICTURES[:, :, ::-1]
    np.testing.assert_array_equal(encoder.encode(mirrored), encoder.encode(mirrored.copy()))


@BOTH
@pytest.mark.parametrize(
    "pixels",
    [
        PICTURES[:, :7],
        PICTURES[..., :1],
        PICTURES[0],
        PICTURES.transpose(0, 3, 1, 2),
        PICTURES.astype(np.float32),
        PICTURES / 255,
    ],
)
def test_pixels_of_another_size_or_range_are_refused(tmp_path: Path, engine: str, pixels: Any) -> None:
    with pytest.raises(ShapeError, match=r"takes \(B, 8, 10, 3\) uint8 pixels, not"):
        save(tmp_path / "b", engine).encode(pixels)


def test_a_zero_vector_stays_one(tmp_path: Path) -> None:
    weights = network().state_dict()
    for name in ("embedding.weight", "embedding.bias"):
        weights[name].zero_()
    encoder = save_encoder(tmp_path / "b", torch_spec(), weights, PICTURES)
    np.testing.assert_array_equal(encoder.encode(PICTURES), np.zeros((5, 5)))


@BOTH
@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m["input"].update(channels="bgr"),
        lambda m: m["input"].update(mean=[0, 0, 0]),
        lambda m: m["input"].update(mean=m["input"]["mean"][::-1]),
        lambda m: m["input"].update(std=[1, 1, 1]),
        lambda m: m["input"].update(std=[value * 255 for value in m["input"]["std"]]),
        lambda m: m.update(normalize=not m["normalize"]),
    ],
    ids=["channels", "mean", "order of mean", "std", "range", "normalize"],
)
@pytest.mark.parametrize("normalize", [False, True])
def test_an_edited_manifest_is_found_by_its_references(
    tmp_path: Path, engine: str, normalize: bool, edit: Callable[[dict[str, Any]], object]
) -> None:
    save(tmp_path / "b", engine, normalize=normalize)
    edit_manifest(tmp_path / "b", edit)
    with pytest.raises(BundleError, match="does not give its reference outputs"):
        load_encoder(tmp_path / "b", device="cpu")


@BOTH
@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m.update(dimension=6),
        lambda m: m["input"].update(height=9),
        lambda m: m["input"].update(height=10, width=8),
        lambda m: m["input"].update(channels="grey", mean=[0], std=[1]),
    ],
    ids=["dimension", "height", "height and width", "grey"],
)
def test_an_edited_shape_is_refused(
    tmp_path: Path, engine: str, edit: Callable[[dict[str, Any]], object]
) -> None:
    save(tmp_path / "b", engine)
    edit_manifest(tmp_path / "b", edit)
    with pytest.raises(BundleError, match="must hold inputs"):
        load_encoder(tmp_path / "b", device="cpu")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda m: m["architecture"].update(name="vgg"), "no network 'vgg'"),
        (lambda m: m["architecture"]["params"].update(depth=9), "does not take these parameters"),
        (lambda m: m["architecture"]["params"].update(dimension=7), "do not fit the architecture"),
        (lambda m: m["architecture"]["params"].update(dimension=-1), "do not fit the architecture"),
    ],
)
def test_an_edited_architecture_is_refused(
    tmp_path: Path, edit: Callable[[dict[str, Any]], object], message: str
) -> None:
    save(tmp_path / "b", "pytorch")
    edit_manifest(tmp_path / "b", edit)
    with pytest.raises(BundleError, match=message):
        load_encoder(tmp_path / "b", device="cpu")


@pytest.mark.parametrize(
    ("field", "value"),
    [("input", "x"), ("output", "y"), ("layout", "nhwc"), ("batch", 3)],
)
def test_an_edited_graph_signature_is_refused(tmp_path: Path, field: str, value: object) -> None:
    raw = encoder_graph(batch=2).SerializeToString()
    save_encoder(tmp_path / "b", onnx_spec(batch=2), raw, PICTURES)
    edit_manifest(tmp_path / "b", lambda manifest: manifest["onnx"].update({field: value}))
    with pytest.raises(BundleError, match="ONNX Runtime cannot run the model"):
        load_encoder(tmp_path / "b")


@pytest.mark.parametrize("raw", [b"", b"no graph", b"\x08\x07"])
def test_a_graph_that_is_none_is_refused(tmp_path: Path, raw: bytes) -> None:
    with pytest.raises(BundleError, match="ONNX Runtime cannot load the model"):
        save_encoder(tmp_path / "b", onnx_spec(), raw, PICTURES)


def test_a_wrong_dimension_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(
        BundleError, match=r"gives the shape \(5, 5\) for 5 picture\(s\); its manifest says 6"
    ):
        save_encoder(tmp_path / "b", onnx_spec(dimension=6), encoder_graph().SerializeToString(), PICTURES)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_give_no_numbers_are_refused(tmp_path: Path, bad: float) -> None:
    weights = network().state_dict()
    weights["embedding.bias"][2] = bad
    with pytest.raises(BundleError, match="gave NaN or infinity"):
        save_encoder(tmp_path / "b", torch_spec(), weights, PICTURES)
    assert not (tmp_path / "b").exists()


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_a_picture_for_which_the_network_gives_no_number_is_an_error(tmp_path: Path) -> None:
    raw = encoder_graph(head="divide").SerializeToString()
    encoder = save_encoder(tmp_path / "b", onnx_spec(mean=(0, 0, 0)), raw, PICTURES)
    poison = PICTURES.copy()
    poison[1, 0, 0, 0] = 0
    with pytest.raises(BundleError, match="gave NaN or infinity"):
        encoder.encode(poison)
    assert np.isfinite(encoder.encode(PICTURES)).all()


def test_a_network_that_draws_random_numbers_does_not_replace_an_older_bundle(tmp_path: Path) -> None:
    save(tmp_path / "b", "onnxruntime")
    before = contents(tmp_path)
    with pytest.raises(BundleError, match="does it draw random numbers"):
        save_encoder(tmp_path / "b", onnx_spec(), encoder_graph(head="random").SerializeToString(), PICTURES)
    assert contents(tmp_path) == before


def test_weights_in_a_second_file_are_never_read(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    model = encoder_graph()
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="second", size_threshold=0)
    request.addfinalizer(lambda here=Path.cwd(): os.chdir(here))  # type: ignore[misc]
    os.chdir(tmp_path)  # where ONNX Runtime looks for it, when it is given bytes
    assert (tmp_path / "second").is_file()
    with pytest.raises(BundleError, match="ONNX Runtime cannot load the model"):
        save_encoder(tmp_path / "b", onnx_spec(), (tmp_path / "m.onnx").read_bytes(), PICTURES)


def test_weights_go_with_their_engine_and_references_are_needed(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="A state dict goes with an architecture"):
        save_encoder(tmp_path / "b", torch_spec(), b"bytes", PICTURES)
    with pytest.raises(BundleError, match="A state dict goes with an architecture"):
        save_encoder(tmp_path / "b", onnx_spec(), network().state_dict(), PICTURES)
    with pytest.raises(ShapeError, match="at least one reference"):
        save_encoder(tmp_path / "b", torch_spec(), network().state_dict(), PICTURES[:0])
    assert list(tmp_path.iterdir()) == []


def test_a_device_that_is_not_there_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "b", "pytorch")
    if torch.cuda.is_available():
        pytest.skip("needs a machine without a GPU")
    assert load_encoder(tmp_path / "b").engine.device == "cpu"
    with pytest.raises(OptionError, match="no CUDA device is there"):
        load_encoder(tmp_path / "b", device="cuda")
