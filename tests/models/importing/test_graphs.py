"""Importing ONNX encoders: what the graph says is read, the rest asked for, and the numbers stay the same."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from models.drawing import draw_vehicle
from models.errors import BundleError, OptionError
from models.images import Pixels
from models.importing import ImportOptions, ImportReport, import_onnx
from models.runtime import load_encoder
from tests.data import real_data
from tests.models.onnx_graphs import Head, by_hand, encoder_graph, save_graph

IMAGENET: dict[str, Any] = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}


def options(**given: Any) -> ImportOptions:
    return ImportOptions(**{"name": "it", **IMAGENET, "channels": "rgb", "normalize": True} | given)


def do_import(tmp_path: Path, graph: dict[str, Any] | None = None, **given: Any) -> ImportReport:
    path = save_graph(tmp_path / "graph.onnx", **(graph or {}))
    return import_onnx(path, tmp_path / "bundle", options(**given))


def pictures(height: int = 8, width: int = 10, depth: int = 3) -> Pixels:
    return np.random.default_rng(5).integers(0, 256, (7, height, width, depth)).astype(np.uint8)


def assert_same(tmp_path: Path, given: Pixels, **how: Any) -> None:
    got = load_encoder(tmp_path / "bundle").encode(given)
    expected = by_hand(tmp_path / "graph.onnx", given, **{**IMAGENET, "normalize": True} | how)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_what_the_graph_says_is_read(tmp_path: Path) -> None:
    report = do_import(tmp_path, description="", licence="MIT")
    manifest = report.encoder.manifest
    assert manifest.onnx is not None
    assert (manifest.onnx.input, manifest.onnx.output, manifest.onnx.batch) == ("pictures", "embedding", None)
    assert (manifest.input.height, manifest.input.width, manifest.dimension) == (8, 10, 5)
    assert (manifest.input.mean, manifest.input.std) == tuple(IMAGENET.values())
    assert (manifest.licence, manifest.description) == ("MIT", "Imported from an ONNX file.")
    assert any("8 x 10 (height x width), rgb" in note for note in report.notes)
    assert any("5 dimensions (output 'embedding')" in note for note in report.notes)
    assert_same(tmp_path, pictures())


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
@pytest.mark.parametrize("normalize", [False, True])
def test_options_do_what_they_say(tmp_path: Path, channels: str, normalize: bool) -> None:
    do_import(tmp_path, channels=channels, normalize=normalize)
    assert_same(tmp_path, pictures(), bgr=channels == "bgr", normalize=normalize)


def test_means_may_be_one_number_and_for_pixels_from_0_to_1(tmp_path: Path) -> None:
    report = do_import(tmp_path, mean=(0.5,), std=(0.25,), pixel_max=1)
    assert report.encoder.manifest.input.mean == (127.5,) * 3
    assert report.encoder.manifest.input.std == (63.75,) * 3
    assert_same(tmp_path, pictures(), mean=(127.5,) * 3, std=(63.75,) * 3)


@pytest.mark.parametrize("size", [(8, 10), ("h", "w"), (8, "w")])
@pytest.mark.parametrize("batch", ["batch", 1])
def test_channels_last_is_recognised(tmp_path: Path, size: tuple[Any, Any], batch: int | str) -> None:
    report = do_import(tmp_path, {"layout": "nhwc", "size": size, "batch": batch}, size=(8, 10))
    graph = report.encoder.manifest.onnx
    assert graph is not None
    assert (graph.layout, graph.batch) == ("nhwc", None)
    assert_same(tmp_path, pictures(), nhwc=True)


def test_one_channel_is_grey(tmp_path: Path) -> None:
    report = do_import(tmp_path, {"depth": 1}, channels=None, mean=(100,), std=(50,))
    assert report.encoder.manifest.input.channels == "grey"
    assert_same(tmp_path, pictures(depth=1), mean=(100,), std=(50,))


def test_an_open_number_of_channels_is_three(tmp_path: Path) -> None:
    do_import(tmp_path, {"depth": "c"})
    assert_same(tmp_path, pictures())


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (3, 40)])
def test_the_smallest_inputs_are_imported(tmp_path: Path, size: tuple[int, int]) -> None:
    if size == (1, 1):
        with pytest.raises(BundleError, match="ONNX Runtime cannot"):  # smaller than its convolution
            do_import(tmp_path, {"size": size})
    else:
        do_import(tmp_path, {"size": size}, normalize=False)
        assert_same(tmp_path, pictures(*size), normalize=False)


@pytest.mark.parametrize("head", ["flatten", "reshape"])
@pytest.mark.parametrize("batch", [1, 2, 8])
def test_a_fixed_batch_is_freed_where_the_embeddings_stay_the_same(
    tmp_path: Path, head: Head, batch: int
) -> None:
    report = do_import(tmp_path, {"batch": batch, "head": head})
    assert report.encoder.manifest.onnx is not None
    assert report.encoder.manifest.onnx.batch is None
    assert any("rewritten to take any" in note for note in report.notes)
    assert_same(tmp_path, pictures())


def test_a_reshape_inside_a_constant_node_is_freed_too(tmp_path: Path) -> None:
    model = encoder_graph(batch=1, head="reshape")
    (shape,) = [tensor for tensor in model.graph.initializer if tensor.name == "shape"]
    model.graph.initializer.remove(shape)
    model.graph.node.insert(0, helper.make_node("Constant", [], ["shape"], value=shape))
    onnx.save(model, tmp_path / "graph.onnx")
    report = import_onnx(tmp_path / "graph.onnx", tmp_path / "bundle", options())
    assert report.encoder.manifest.onnx is not None
    assert report.encoder.manifest.onnx.batch is None
    assert_same(tmp_path, pictures())


def test_a_reshape_to_one_picture_under_an_open_batch_is_freed(tmp_path: Path) -> None:
    model = encoder_graph(batch=1, head="reshape")
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"  # declared, and not true
    onnx.save(model, tmp_path / "graph.onnx")
    report = import_onnx(tmp_path / "graph.onnx", tmp_path / "bundle", options())
    assert any("batches of 1 only: rewritten" in note for note in report.notes)
    assert_same(tmp_path, pictures())


@pytest.mark.parametrize(("head", "batch"), [("token", 1), ("token", 2), ("mixing", 1), ("mixing", "batch")])
def test_a_batch_that_cannot_be_freed_is_kept(tmp_path: Path, head: Head, batch: int | str) -> None:
    report = do_import(tmp_path, {"batch": batch, "head": head})
    assert report.encoder.manifest.onnx is not None
    assert report.encoder.manifest.onnx.batch == (batch if isinstance(batch, int) else 1)
    assert any("cannot be freed without changing the embeddings" in note for note in report.notes)
    assert_same(tmp_path, pictures())


def test_one_of_several_outputs_is_chosen_by_name(tmp_path: Path) -> None:
    graph = {"second_output": True}
    with pytest.raises(OptionError, match=r"the outputs features, embedding\. Say with --output"):
        do_import(tmp_path, graph)
    with pytest.raises(OptionError, match="no output 'logits'; it has features, embedding"):
        do_import(tmp_path, graph, output="logits")
    assert do_import(tmp_path, graph, output="features").encoder.manifest.dimension == 4
    assert do_import(tmp_path, graph, output="embedding").encoder.manifest.dimension == 5
    assert_same(tmp_path, pictures())


def test_everything_that_is_missing_is_asked_for_at_once(tmp_path: Path) -> None:
    path = save_graph(tmp_path / "graph.onnx", size=("h", "w"))
    with pytest.raises(OptionError) as caught:
        import_onnx(path, tmp_path / "bundle", ImportOptions(name="it"))
    for option in ("--size", "--mean", "--std", "--channels", "--normalize or --no-normalize"):
        assert option in str(caught.value)
    with pytest.raises(OptionError, match=r"Add: --size HEIGHTxWIDTH\.$"):
        do_import(tmp_path, {"size": (8, "w")})
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("graph", "given", "message"),
    [
        ({}, {"size": (10, 8)}, "fixes the input at 8 x 10"),
        ({"size": (8, "w")}, {"size": (9, 10)}, "fixes the input at 8 x any"),
        ({}, {"channels": "grey"}, "--channels grey does not fit the graph's 3 input channel"),
        ({"depth": 1}, {"channels": "bgr"}, "--channels bgr does not fit the graph's 1 input channel"),
        ({}, {"mean": (1, 2)}, "--mean takes 1 number or 3, one a channel; 2 were given"),
        ({}, {"std": (1, 2, 3, 4)}, "--std takes 1 number or 3"),
        ({}, {"mean": (0.485, 0.456, 0.406)}, "add --pixel-max 1"),
        ({}, {"mean": (0,), "std": (0.5,)}, "add --pixel-max 1"),
        ({}, {"pixel_max": 1}, "leave --pixel-max away"),
        ({}, {"std": (0,)}, "std"),
        ({}, {"std": (-1,)}, "std"),
        ({}, {"mean": (float("nan"),)}, "mean"),
        ({}, {"name": "two words"}, "name 'two words'"),
        ({"size": ("h", "w")}, {"size": (0, 10)}, "height"),
        ({"size": ("h", "w")}, {"size": (8, 5000)}, "width"),
        ({"dimension": 70_000}, {}, "dimension 70000"),
    ],
)
def test_options_that_contradict_are_refused(
    tmp_path: Path, graph: dict[str, Any], given: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        do_import(tmp_path, graph, **given)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"<html></html>", b"\x08\x07", bytes(range(256))])
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "graph.onnx").write_bytes(content)
    with pytest.raises(BundleError, match=r"graph\.onnx is not an ONNX file"):
        import_onnx(tmp_path / "graph.onnx", tmp_path / "bundle", options())


def test_a_file_cut_off_is_refused(tmp_path: Path) -> None:
    raw = encoder_graph().SerializeToString()
    for end in range(1, len(raw), 11):
        (tmp_path / "graph.onnx").write_bytes(raw[:end])
        with pytest.raises(BundleError):
            import_onnx(tmp_path / "graph.onnx", tmp_path / "bundle", options())


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"missing\.onnx cannot be read: No such file"):
        import_onnx(tmp_path / "missing.onnx", tmp_path / "bundle", options())
    with pytest.raises(BundleError, match="cannot be read: Is a directory"):
        import_onnx(tmp_path, tmp_path / "bundle", options())


def test_an_old_opset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"ONNX opset 6, and 7 or newer is needed"):
        do_import(tmp_path, {"opset": 6})


@pytest.mark.parametrize("as_node", [False, True])
def test_weights_in_a_second_file_are_refused(tmp_path: Path, as_node: bool) -> None:
    model = encoder_graph()
    if as_node:
        linear = next(tensor for tensor in model.graph.initializer if tensor.name == "linear")
        model.graph.initializer.remove(linear)
        model.graph.node.insert(0, helper.make_node("Constant", [], ["linear"], value=linear))
    path = tmp_path / "graph.onnx"
    onnx.save(model, path, save_as_external_data=True, location="w", size_threshold=0, convert_attribute=True)
    with pytest.raises(BundleError, match=r"weights in a second file \(external data\)"):
        import_onnx(path, tmp_path / "bundle", options())


def altered(**changes: Any) -> Any:
    model = encoder_graph()
    (given,), (embedding,) = model.graph.input, model.graph.output
    if "second_input" in changes:
        model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1]))
    if "input_type" in changes:
        given.type.tensor_type.elem_type = changes["input_type"]
    if "output_type" in changes:
        embedding.type.tensor_type.elem_type = changes["output_type"]
    if "axes" in changes:
        given.CopyFrom(helper.make_tensor_value_info("pictures", TensorProto.FLOAT, changes["axes"]))
    return model


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"second_input": True}, "this graph has 2"),
        ({"input_type": TensorProto.UINT8}, "is not float32"),
        ({"output_type": TensorProto.INT64}, "no floating-point numbers"),
        ({"axes": ["b", 80, 3000]}, "has 3 axes; pictures have 4"),
        ({"axes": ["b", 4, 8, 10]}, "has 4 channels"),
        ({"axes": ["b", 1, 8, 10]}, "ONNX Runtime cannot"),
    ],
)
def test_what_is_no_image_encoder_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    (tmp_path / "graph.onnx").write_bytes(altered(**changes).SerializeToString())
    given = {"channels": None, "mean": (1,), "std": (1,)} if changes.get("axes", [0, 0])[1] == 1 else {}
    with pytest.raises(BundleError, match=message):
        import_onnx(tmp_path / "graph.onnx", tmp_path / "bundle", options(**given))
    assert not (tmp_path / "bundle").exists()


def test_a_folder_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "holiday.jpg").write_bytes(b"...")
    with pytest.raises(BundleError, match="exists and is no bundle"):
        do_import(tmp_path)
    assert [path.name for path in (tmp_path / "bundle").iterdir()] == ["holiday.jpg"]


@pytest.mark.data
@pytest.mark.parametrize(
    ("file", "size", "dimension", "recipe"),
    [
        ("mobilefacenet_112.onnx", (112, 112), 128, {"mean": (127.5,) * 3, "std": (128.0,) * 3}),
        ("osnet_x0_25_msmt17.onnx", (256, 128), 512, IMAGENET),
    ],
)
def test_encoders_of_the_field_give_what_they_give_by_hand(
    tmp_path: Path, file: str, size: tuple[int, int], dimension: int, recipe: dict[str, Any]
) -> None:
    path = real_data() / "encoders" / file
    report = import_onnx(path, tmp_path / "bundle", options(**recipe))
    spec = report.encoder.manifest.input
    assert ((spec.height, spec.width), report.encoder.manifest.dimension) == (size, dimension)
    drawn = np.stack([np.asarray(draw_vehicle(7, view, size=size[::-1])) for view in range(5)])
    expected = by_hand(path, drawn, **recipe, normalize=True)
    np.testing.assert_allclose(load_encoder(tmp_path / "bundle").encode(drawn), expected, atol=1e-5)
