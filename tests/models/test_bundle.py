"""Bundles on disk: what is read is what was written, or an error that says what is wrong."""

import os
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save as save_arrays

from models.bundle import check_destination, find_bundle, read_bundle, shipped_bundles, write_bundle
from models.errors import BundleError
from models.manifest import OnnxGraph
from tests.models.bundles import (
    REFERENCES,
    REPORTS,
    WEIGHTS,
    contents,
    edit_manifest,
    make_spec,
    replace_file,
    write,
)


def test_a_bundle_comes_back_as_it_was_written(tmp_path: Path) -> None:
    training = {"steps": 3, "minutes": None}
    written = write(tmp_path / "new" / "bundle", description="For tests.", training=training)
    bundle = read_bundle(tmp_path / "new" / "bundle")
    assert bundle.manifest == written
    assert (bundle.manifest.description, bundle.manifest.training) == ("For tests.", training)
    assert bundle.manifest.input == make_spec().input
    torch.testing.assert_close(bundle.state_dict(), WEIGHTS, rtol=0, atol=0)
    np.testing.assert_array_equal(bundle.inputs, REFERENCES[0])
    np.testing.assert_array_equal(bundle.outputs, REFERENCES[1])
    files = contents(tmp_path)
    assert set(files) == {
        f"new/bundle/{name}" for name in ("manifest.json", "weights.safetensors", "references.safetensors")
    }


def test_the_bytes_of_a_graph_are_kept(tmp_path: Path) -> None:
    spec = make_spec(architecture=None, onnx=OnnxGraph(input="x", output="y"))
    write_bundle(tmp_path / "b", spec, b"any bytes", REFERENCES)
    assert (tmp_path / "b" / "model.onnx").read_bytes() == read_bundle(tmp_path / "b").weights == b"any bytes"


def test_views_are_stored_in_their_order(tmp_path: Path) -> None:
    channels_last = torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    mirrored = REFERENCES[0][:, :, ::-1]
    write_bundle(tmp_path / "b", make_spec(), {"kernel": channels_last}, (mirrored, REFERENCES[1]))
    bundle = read_bundle(tmp_path / "b")
    torch.testing.assert_close(bundle.state_dict()["kernel"], channels_last, rtol=0, atol=0)
    np.testing.assert_array_equal(bundle.inputs, mirrored)


@pytest.mark.parametrize("name", ["weights.safetensors", "references.safetensors"])
def test_a_changed_byte_is_found(tmp_path: Path, name: str) -> None:
    write(tmp_path / "b")
    content = bytearray((tmp_path / "b" / name).read_bytes())
    content[-1] ^= 1
    (tmp_path / "b" / name).write_bytes(content)
    with pytest.raises(BundleError, match=rf"{name} is not the file that its manifest names"):
        read_bundle(tmp_path / "b")


@pytest.mark.parametrize("name", ["manifest.json", "weights.safetensors", "references.safetensors"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    write(tmp_path / "b")
    (tmp_path / "b" / name).unlink()
    with pytest.raises(BundleError, match=rf"cannot be read: No such file.*{name}"):
        read_bundle(tmp_path / "b")
    (tmp_path / "b" / name).mkdir()
    with pytest.raises(BundleError, match=rf"cannot be read: Is a directory.*{name}"):
        read_bundle(tmp_path / "b")


@pytest.mark.parametrize(
    "name", ["manifest.json", "weights.safetensors", "references.safetensors", "report.html"]
)
def test_a_file_that_is_a_pipe_is_refused_before_it_is_opened(tmp_path: Path, name: str) -> None:
    write_bundle(tmp_path / "b", make_spec(), WEIGHTS, REFERENCES, reports=REPORTS)
    (tmp_path / "b" / name).unlink()
    os.mkfifo(tmp_path / "b" / name)  # to read it would wait for ever
    with pytest.raises(BundleError, match=rf"{name} is no regular file"):
        read_bundle(tmp_path / "b")
    if name == "manifest.json":
        with pytest.raises(BundleError, match="exists and is no bundle"):
            check_destination(tmp_path / "b")


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"inputs": REFERENCES[0]},
        {"outputs": REFERENCES[1]},
        {"inputs": REFERENCES[0][:0], "outputs": REFERENCES[1][:0]},
        {"inputs": REFERENCES[0][:1], "outputs": REFERENCES[1]},
        {"inputs": REFERENCES[0][:, :3], "outputs": REFERENCES[1]},
        {"inputs": REFERENCES[0].astype(np.float32), "outputs": REFERENCES[1]},
        {"inputs": REFERENCES[0], "outputs": REFERENCES[1][:, :4]},
        {"inputs": REFERENCES[0], "outputs": REFERENCES[1].astype(np.float64)},
        {"inputs": np.array(1, np.uint8), "outputs": REFERENCES[1]},
    ],
)
def test_references_that_would_check_nothing_are_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray[Any, Any]]
) -> None:
    given = (arrays.get("inputs", REFERENCES[0]), arrays.get("outputs", REFERENCES[1]))
    write_bundle(tmp_path / "b", make_spec(), WEIGHTS, given)
    if len(arrays) < 2:
        plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        replace_file(tmp_path / "b", "references", save_arrays(plain))
    with pytest.raises(BundleError, match=r"must hold inputs \(n, 4, 6, 3\) uint8 and outputs \(n, 5\)"):
        read_bundle(tmp_path / "b")


@pytest.mark.parametrize("field", ["weights", "references"])
def test_files_that_are_no_safetensors_are_refused(tmp_path: Path, field: str) -> None:
    write(tmp_path / "b")
    replace_file(tmp_path / "b", field, b"junk")
    with pytest.raises(BundleError, match="not a safetensors file"):
        read_bundle(tmp_path / "b").state_dict()


@pytest.mark.parametrize(
    "files",
    [
        {"holiday.jpg": b"..."},
        {"manifest.json": b'{"name": "My web app", "icons": []}', "index.html": b"<html>"},
        {"manifest.json": b"not json"},
        {"manifest.json": b'["lookalike-encoder/1"]'},
    ],
    ids=["pictures", "a web page", "a broken manifest", "a list"],
)
def test_a_folder_that_is_something_else_is_left_alone(tmp_path: Path, files: dict[str, bytes]) -> None:
    folder = tmp_path / "precious"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    for attempt in (lambda: write(folder), lambda: check_destination(folder)):
        with pytest.raises(BundleError, match="exists and is no bundle"):
            attempt()
    assert contents(tmp_path) == {f"precious/{name}": content for name, content in files.items()}


def test_a_file_and_a_bundle_with_other_things_in_it_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"precious")
    with pytest.raises(BundleError, match="is a file"):
        write(tmp_path / "file")
    write(tmp_path / "b")
    (tmp_path / "b" / "notes.txt").write_text("precious")
    before = contents(tmp_path)
    with pytest.raises(BundleError, match=r"also holds notes\.txt"):
        write(tmp_path / "b")
    assert contents(tmp_path) == before


def test_an_older_bundle_is_replaced_and_nothing_of_it_stays(tmp_path: Path) -> None:
    spec = make_spec(architecture=None, onnx=OnnxGraph(input="x", output="y"))
    write_bundle(tmp_path / "b", spec, b"graph", REFERENCES)
    edit_manifest(tmp_path / "b", lambda content: content.update(format="lookalike-encoder/0"))
    write(tmp_path / "b", name="newer")
    assert read_bundle(tmp_path / "b").manifest.name == "newer"
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "b", "manifest.json", "references.safetensors", "weights.safetensors"
    ]  # fmt: skip


def test_an_empty_folder_and_a_link_to_one_are_filled(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write(tmp_path / "link")
    write(tmp_path / "link", name="again")
    assert read_bundle(tmp_path / "real").manifest.name == "again"
    assert (tmp_path / "link").is_symlink()


def test_a_disk_that_is_full_leaves_the_older_bundle(tmp_path: Path) -> None:
    write(tmp_path / "b")
    before = contents(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # no file may be larger
    try:
        with pytest.raises(BundleError, match="cannot be written"):
            write_bundle(tmp_path / "b", make_spec(), {"w": torch.zeros(5000)}, REFERENCES)
        with pytest.raises(BundleError, match="cannot be written"):
            write_bundle(tmp_path / "new", make_spec(), {"w": torch.zeros(5000)}, REFERENCES)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert contents(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_place_that_cannot_hold_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BundleError, match=r"file/b cannot be written"):
        write(tmp_path / "file" / "b")


def test_a_bundle_is_found_by_its_folder_or_its_shipped_name(tmp_path: Path) -> None:
    write(tmp_path / "b")
    assert find_bundle(str(tmp_path / "b")) == tmp_path / "b"
    for name, folder in shipped_bundles().items():
        assert find_bundle(name) == folder
        assert read_bundle(folder).manifest.name == name


def test_what_is_no_bundle_is_explained(tmp_path: Path) -> None:
    (tmp_path / "face.onnx").write_bytes(b"")
    (tmp_path / "face.pt").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    for given, reason in {
        str(tmp_path): r"holds no manifest\.json",
        str(tmp_path / "empty"): "is an empty folder",
        str(tmp_path / "missing"): "is no shipped encoder and no folder",
        str(tmp_path / "face.pt"): "is a file and no folder",
        str(tmp_path / "face.onnx"): "lookalike encoder import",
    }.items():
        names = ", ".join(shipped_bundles()) or "none"
        with pytest.raises(BundleError, match=rf"{reason}.*shipped names \({names}\)"):
            find_bundle(given)


def test_what_ships_is_small() -> None:
    for folder in shipped_bundles().values():
        assert sum(len(content) for content in contents(folder).values()) <= 6_000_000, folder
