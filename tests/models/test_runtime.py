"""Engines and encoders give the numbers of a plain loop."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from models.engines import TorchEngine, fill_up
from models.errors import BundleError, OptionError, ShapeError
from models.images import decode
from models.manifest import InputSpec
from models.onnx_engine import OnnxEngine
from models.runtime import load_encoder, save_encoder
from tests.models.encoders import ENGINES, MEAN, PICTURES, STD, network, onnx_spec, save, torch_spec
from tests.models.onnx_graphs import by_hand, encoder_graph
from tests.models.pictures import encoded, smooth

pytestmark = pytest.mark.usefixtures("one_thread")

BOTH = pytest.mark.parametrize("engine", ENGINES)


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
    assert (encoder.engine.name, got.dtype.name) == (engine, "float32")
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("depth", [1, 3])
def test_layouts_and_grey_are_those_of_a_plain_loop(layout: Any, depth: int) -> None:
    raw = encoder_graph(layout=layout, depth=depth).SerializeToString()
    channels: dict[str, Any] = {"channels": "grey"} if depth == 1 else {}
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
    assert (got.shape, got.dtype.name) == ((0, 5), "float32")


@BOTH
def test_pixels_come_as_decoding_gives_them_or_as_views(tmp_path: Path, engine: str) -> None:
    encoder = save(tmp_path / "b", engine)
    decoded = decode(encoded(smooth(8, 10), "PNG"), (8, 10))
    np.testing.assert_array_equal(encoder.encode(decoded[None]), encoder.encode(smooth(8, 10)[None]))
    mirrored = PICTURES[:, :, ::-1]
    np.testing.assert_array_equal(encoder.encode(mirrored), encoder.encode(mirrored.copy()))


@BOTH
def test_pixels_of_another_size_or_range_are_refused(tmp_path: Path, engine: str) -> None:
    encoder = save(tmp_path / "b", engine)
    others: list[Any] = [PICTURES[:, :7], PICTURES[..., :1], PICTURES[0], PICTURES.transpose(0, 3, 1, 2)]
    for pixels in (*others, PICTURES.astype(np.float32), PICTURES / 255):
        with pytest.raises(ShapeError, match=r"takes \(B, 8, 10, 3\) uint8 pixels, not"):
            encoder.encode(pixels)


def test_a_zero_vector_stays_one(tmp_path: Path) -> None:
    weights = network().state_dict()
    for name in ("embedding.weight", "embedding.bias"):
        weights[name].zero_()
    encoder = save_encoder(tmp_path / "b", torch_spec(), weights, PICTURES)
    np.testing.assert_array_equal(encoder.encode(PICTURES), np.zeros((5, 5)))


def test_a_device_that_is_not_there_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "b", "pytorch")
    if torch.cuda.is_available():
        pytest.skip("needs a machine without a GPU")
    assert load_encoder(tmp_path / "b").engine.device == "cpu"
    with pytest.raises(OptionError, match="no CUDA device is there"):
        load_encoder(tmp_path / "b", device="cuda")


@pytest.mark.parametrize(("count", "filled"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 8)])
def test_a_batch_for_a_gpu_is_filled_up_to_a_power_of_two(count: int, filled: int) -> None:
    got = fill_up(PICTURES[:count])
    assert got.shape == (filled, *PICTURES.shape[1:])
    np.testing.assert_array_equal(got[:count], PICTURES[:count])
    assert all((row == PICTURES[count - 1]).all() for row in got[count:])


@pytest.mark.parametrize("count", [1, 2, 5])
def test_lanes_give_what_one_thread_gives(count: int) -> None:
    raw = encoder_graph().SerializeToString()
    spec = onnx_spec()
    assert spec.onnx is not None
    lanes = OnnxEngine(raw, spec.onnx, spec.input, threads=2)
    single = OnnxEngine(raw, spec.onnx, spec.input, threads=1)
    assert (lanes.lanes, single.lanes) == (2, 1)
    expected = single.run(PICTURES[:count])
    np.testing.assert_allclose(lanes.run(PICTURES[:count]), expected, rtol=1e-6, atol=1e-6)
    with ThreadPoolExecutor(2) as callers:
        for got in callers.map(lanes.run, [PICTURES[:count]] * 8):
            np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


def test_what_fails_in_a_part_of_a_batch_reaches_the_caller() -> None:
    raw = encoder_graph().SerializeToString()
    spec = onnx_spec()
    assert spec.onnx is not None
    engine = OnnxEngine(raw, spec.onnx, spec.input, threads=2)
    with pytest.raises(BundleError, match="ONNX Runtime cannot run the model"):
        engine.run(np.zeros((4, 3, 3, 3), np.uint8))
