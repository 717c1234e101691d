"""Bundles that are not what they say are found when they are loaded, or before they are written."""

from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx.external_data_helper import set_external_data

from models.errors import BundleError, ShapeError
from models.onnx_session import first_line, open_session
from models.runtime import load_encoder, save_encoder
from tests.models.bundles import contents, edit_manifest
from tests.models.encoders import ENGINES, PICTURES, network, onnx_spec, save, torch_spec
from tests.models.onnx_graphs import encoder_graph

pytestmark = pytest.mark.usefixtures("one_thread")

BOTH = pytest.mark.parametrize("engine", ENGINES)


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
    with pytest.raises(
        BundleError, match=r"cannot run the model on input of .* those that it was made for"
    ) as raised:
        load_encoder(tmp_path / "b")
    assert "ONNXRuntimeError" not in str(raised.value)


def test_of_a_librarys_message_what_says_something_is_shown() -> None:
    model = encoder_graph()
    model.opset_import[0].version = 99
    with pytest.raises(BundleError, match=r"\(It says: ONNX Runtime only \*guarantees\* support"):
        open_session(model.SerializeToString(), 1)
    many = RuntimeError(f"Error(s) in loading:\n\tMissing: {', '.join(['layer.weight'] * 90)}. ")
    assert first_line(many).startswith("Missing: layer.weight, ")
    assert len(first_line(many)) <= 200
    assert first_line(ValueError()) == "ValueError"


@pytest.mark.parametrize("raw", [b"", b"no graph", b"\x08\x07"])
def test_a_graph_that_is_none_is_refused(tmp_path: Path, raw: bytes) -> None:
    with pytest.raises(BundleError, match=r"cannot load the model\. Export it again.*\(It says: ") as raised:
        save_encoder(tmp_path / "b", onnx_spec(), raw, PICTURES)
    assert "ONNXRuntimeError" not in str(raised.value)


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


def test_weights_in_a_second_file_are_never_read(tmp_path: Path) -> None:
    model = encoder_graph()
    (linear,) = [tensor for tensor in model.graph.initializer if tensor.name == "linear"]
    (tmp_path / "second").write_bytes(linear.raw_data)
    set_external_data(linear, "second")
    linear.ClearField("raw_data")
    # The working directory is where ONNX Runtime looks for it, when it is given bytes.
    with chdir(tmp_path), pytest.raises(BundleError, match="ONNX Runtime cannot load the model"):
        save_encoder(tmp_path / "b", onnx_spec(), model.SerializeToString(), PICTURES)


def test_weights_go_with_their_engine_and_references_are_needed(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="A state dict goes with an architecture"):
        save_encoder(tmp_path / "b", torch_spec(), b"bytes", PICTURES)
    with pytest.raises(BundleError, match="A state dict goes with an architecture"):
        save_encoder(tmp_path / "b", onnx_spec(), network().state_dict(), PICTURES)
    with pytest.raises(ShapeError, match="at least one reference"):
        save_encoder(tmp_path / "b", torch_spec(), network().state_dict(), PICTURES[:0])
    assert list(tmp_path.iterdir()) == []
