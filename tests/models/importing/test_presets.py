"""Presets fill in what neither options nor graphs say, with the numbers that their families publish."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from models.errors import OptionError
from models.importing import PRESETS, ImportOptions, ImportReport, import_encoder
from models.runtime import load_encoder
from tests.data import real_data
from tests.models.onnx_graphs import by_hand, encoder_graph, save_graph

IMAGENET = {
    "mean": tuple(255 * value for value in (0.485, 0.456, 0.406)),
    "std": tuple(255 * value for value in (0.229, 0.224, 0.225)),
}
PUBLISHED: dict[str, dict[str, Any]] = {
    "insightface": {"size": (112, 112), "mean": (127.5,) * 3, "std": (127.5,) * 3},
    "arcface": {"size": (112, 112), "mean": (127.5,) * 3, "std": (128,) * 3},
    "osnet": {"size": (256, 128), **IMAGENET},
    "fastreid": {"size": (256, 128), **IMAGENET, "resize": "bicubic"},
    "imagenet": {"size": (224, 224), **IMAGENET},
}


FACES: dict[str, Any] = {"preset": "insightface", "size": (8, 10)}


def take_in(tmp_path: Path, model: Any = None, **given: Any) -> ImportReport:
    path = tmp_path / "graph.onnx"
    if model is not None:
        onnx.save(model, path)
    return import_encoder(path, tmp_path / "bundle", ImportOptions(**{"name": "it"} | given))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_says_all_that_a_graph_leaves_open(tmp_path: Path, preset: str) -> None:
    report = take_in(tmp_path, encoder_graph(size=("h", "w")), preset=preset)
    assert any(f"leaves its size open, and the preset {preset} says it" in note for note in report.notes)
    manifest = report.encoder.manifest
    spec, published = manifest.input, PUBLISHED[preset]
    assert ((spec.height, spec.width), spec.channels) == (published["size"], "rgb")
    assert spec.mean == pytest.approx(published["mean"])
    assert spec.std == pytest.approx(published["std"])
    assert spec.resize == published.get("resize", "bilinear")
    assert (manifest.normalize, manifest.metric) == (True, "cosine")


def test_options_come_before_a_preset(tmp_path: Path) -> None:
    given: dict[str, Any] = {"std": (0.25,), "pixel_max": 1, "channels": "bgr", "metric": "euclidean"}
    given["size"] = (8, 10)
    manifest = take_in(tmp_path, encoder_graph(), preset="arcface", normalize=False, **given).encoder.manifest
    assert (manifest.input.height, manifest.input.width) == (8, 10)
    assert (manifest.input.mean, manifest.input.std) == ((127.5,) * 3, (63.75,) * 3)
    assert (manifest.input.channels, manifest.metric, manifest.normalize) == ("bgr", "euclidean", False)


@pytest.mark.parametrize(
    ("size", "fixed", "fitting"), [((8, 10), "8 x 10", "8x10"), ((8, "w"), "8 x any", "8x112")]
)
def test_a_presets_size_that_contradicts_the_graph_is_refused(
    tmp_path: Path, size: tuple[int | str, int | str], fixed: str, fitting: str
) -> None:
    match = rf"at {fixed} \(height x width\), and the preset arcface is for 112 x 112.* --size {fitting}\.$"
    with pytest.raises(OptionError, match=match):
        take_in(tmp_path, encoder_graph(size=size), preset="arcface")
    assert not (tmp_path / "bundle").exists()


def test_an_unknown_preset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no preset 'clip'; known are insightface, arcface"):
        take_in(tmp_path, encoder_graph(), preset="clip")


def test_without_a_preset_one_is_offered(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="Add: a --preset for all of it, or --mean"):
        take_in(tmp_path, encoder_graph())


def test_a_state_dicts_choice_is_none_of_a_graphs(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="An ONNX graph has --output"):
        take_in(tmp_path, encoder_graph(), preset="arcface", take="cls")


def normalising(scaling: str, mean: float, by: float, *, constants: bool = False) -> Any:
    """Return the usual graph with a subtraction and a scaling before it."""
    model = encoder_graph()
    model.graph.node[0].input[0] = "scaled"
    tensors = {
        name: numpy_helper.from_array(np.full((1, 3, 1, 1), value, dtype=np.float32), name)
        for name, value in (("offset", mean), ("by", by))
    }
    model.graph.node.insert(0, helper.make_node("Sub", ["pictures", "offset"], ["centred"]))
    model.graph.node.insert(1, helper.make_node(scaling, ["centred", "by"], ["scaled"]))
    for name, tensor in tensors.items():
        if constants:
            model.graph.node.insert(0, helper.make_node("Constant", [], [name], value=tensor))
        else:
            model.graph.initializer.append(tensor)
    return model


@pytest.mark.parametrize(
    ("scaling", "by", "constants"), [("Mul", 1 / 128, False), ("Div", 128.0, False), ("Div", 128.0, True)]
)
def test_a_graph_that_normalises_by_itself_gets_pixels_as_they_are(
    tmp_path: Path, scaling: str, by: float, constants: bool
) -> None:
    report = take_in(tmp_path, normalising(scaling, 127.5, by, constants=constants), **FACES)
    assert any("normalises pixels by itself" in note for note in report.notes)
    pictures = np.random.default_rng(5).integers(0, 256, (3, 8, 10, 3)).astype(np.uint8)
    plain = save_graph(tmp_path / "plain.onnx")
    expected = by_hand(plain, pictures, mean=(127.5,) * 3, std=(128,) * 3, normalize=True)
    got = load_encoder(tmp_path / "bundle").encode(pictures)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_a_graph_that_shifts_small_numbers_is_not_taken_for_one(tmp_path: Path) -> None:
    manifest = take_in(tmp_path, normalising("Mul", 0.5, 2.0), **FACES).encoder.manifest
    assert manifest.input.mean == (127.5,) * 3


def test_options_come_before_what_a_graph_does_by_itself(tmp_path: Path) -> None:
    given: dict[str, Any] = {"mean": (1,), "std": (2,), **FACES}
    manifest = take_in(tmp_path, normalising("Div", 127.5, 128.0), **given).encoder.manifest
    assert (manifest.input.mean, manifest.input.std) == ((1.0,) * 3, (2.0,) * 3)


@pytest.mark.data
def test_a_public_face_encoder_needs_nothing_but_its_preset(tmp_path: Path) -> None:
    path = real_data("encoders") / "mobilefacenet_112.onnx"
    options = ImportOptions(name="face", preset="arcface")
    encoder = import_encoder(path, tmp_path / "bundle", options).encoder
    pictures = np.random.default_rng(5).integers(0, 256, (2, 112, 112, 3)).astype(np.uint8)
    expected = by_hand(path, pictures, mean=(127.5,) * 3, std=(128,) * 3, normalize=True)
    np.testing.assert_allclose(encoder.encode(pictures), expected, atol=1e-5)
