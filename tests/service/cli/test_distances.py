"""`lookalike distances`: the numbers of a plain loop, from any file, to any file."""

import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.numpy import load_file, save_file

from models import distances
from models.formulas import METRICS
from service.cli import main, options
from tests.models import oracles
from tests.models.inputs import rows_for
from tests.service.cli.commands import answer, refusal, run


@pytest.fixture
def x(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", [[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]])
    return tmp_path / "x.npy"


@pytest.fixture
def y(tmp_path: Path) -> Path:
    (tmp_path / "y.csv").write_text("0,0\n0,1\n0,2\n")
    return tmp_path / "y.csv"


def test_the_choices_are_the_metrics_there_are() -> None:
    assert (options.ROW_METRICS, options.MATRIX_METRICS) == (METRICS, distances.MATRIX_METRICS)


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_a_plain_loop(tmp_path: Path, name: str) -> None:
    rows = [rows_for(name, n, seed=n) for n in (4, 6)]
    for file, values in zip(("x.npy", "y.npy"), rows, strict=True):
        np.save(tmp_path / file, values.numpy())
    order = ("--p", "3") if name == "minkowski" else ()
    found = answer("distances", tmp_path / "x.npy", tmp_path / "y.npy", "--metric", name, *order)
    expected = oracles.matrix(rows[0].tolist(), rows[1].tolist(), oracles.DISTANCES[name])
    np.testing.assert_allclose(found["distances"], expected, rtol=1e-9, atol=1e-12)
    assert (found["metric"], found["shape"]) == (name, [4, 6])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--metric", "frobenius"], ((0 + 25 - 8 + 1 + 100 - 32 + 4) ** 0.5)),
        (["--paired"], [0, 18**0.5, 72**0.5]),
        (["--paired", "--reduction", "mean"], (18**0.5 + 72**0.5) / 3),
        (["--reduction", "sum"], pytest.approx(5 + 18**0.5 + 13**0.5 + 10 + 85**0.5 + 72**0.5 + 3)),
        (["--p", "1", "--paired"], [0, 6, 12]),
        (["--p", "inf", "--paired"], [0, 3, 6]),
    ],
)
def test_options_mean_what_they_mean_over_rest(x: Path, y: Path, arguments: list[str], expected: Any) -> None:
    found = answer("distances", x, y, *arguments)["distances"]
    assert found == (expected if not isinstance(expected, list | float) else pytest.approx(expected))


def test_rows_are_normalised_first(tmp_path: Path) -> None:
    rows = np.array([[3.0, 4.0], [0.0, 2.0]])
    np.save(tmp_path / "x.npy", rows)
    found = answer("distances", tmp_path / "x.npy", "--normalize")["distances"]
    unit = torch.from_numpy(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    np.testing.assert_allclose(found, torch.cdist(unit, unit), rtol=1e-12)


def test_people_see_shape_spread_and_few_distances(x: Path) -> None:
    lines = run("distances", x).stdout.splitlines()
    assert [line.split() for line in lines[:6]] == [
        ["metric", "euclidean"],
        ["shape", "3", "x", "3"],
        ["min", "5"],
        ["median", "5"],
        ["mean", "6.66667"],
        ["max", "10"],
    ]
    assert lines[6].split(maxsplit=1) == ["counted", "6 distances between different rows"]
    assert [line.split() for line in lines[8:]] == [["0", "5", "10"], ["5", "0", "5"], ["10", "5", "0"]]


def test_people_are_not_shown_many_distances(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.eye(11))
    assert "The distances themselves: --out" in run("distances", tmp_path / "x.npy").stdout


def test_one_row_has_no_other(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", [[1.0]])
    result = run("distances", tmp_path / "x.npy")
    assert result.exit_code == 0
    assert "0 distances between different rows" in result.stdout


def test_a_number_is_shown_alone(x: Path, y: Path) -> None:
    assert run("distances", x, y, "--paired", "--reduction", "mean").stdout.split()[-2:] == [
        "mean",
        "4.24264",
    ]
    assert run("distances", x, y, "--metric", "frobenius").stdout.split()[-2] == "distance"


@pytest.mark.parametrize("suffix", [".npy", ".safetensors", ".csv"])
def test_they_are_written_as_the_suffix_says(x: Path, y: Path, suffix: str) -> None:
    out = x.parent / f"out{suffix}"
    result = run("distances", x, y, "--out", out)
    assert result.exit_code == 0
    assert f"Wrote the distances to {out}." in result.stderr
    read = {".npy": np.load, ".csv": lambda path: np.loadtxt(path, delimiter=",")}
    found = load_file(out)["distances"] if suffix == ".safetensors" else read[suffix](out)
    columns = torch.tensor([[0, 0], [0, 1], [0, 2]], dtype=torch.float64)
    expected = torch.cdist(torch.from_numpy(np.load(x)), columns)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_x_and_y_may_be_in_one_file(tmp_path: Path) -> None:
    save_file({"x": np.ones((2, 3)), "y": np.zeros((1, 3))}, tmp_path / "xy.safetensors")
    path = tmp_path / "xy.safetensors"
    assert answer("distances", path, path, "--metric", "manhattan")["distances"] == [[3], [3]]
    assert answer("distances", path, f"{path}:x", "--metric", "manhattan")["distances"] == [[0, 0], [0, 0]]


def test_labels_in_a_table_are_no_coordinates(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("label,a\n7,1\n9,3\n")
    assert answer("distances", tmp_path / "x.csv")["distances"] == [[0, 2], [2, 0]]


@pytest.mark.parametrize("name", ["plot.png", "plot.svg"])
def test_their_histogram_is_drawn(x: Path, y: Path, name: str) -> None:
    plot = x.parent / name
    assert answer("distances", x, y, "--plot", plot)["shape"] == [3, 3]
    if name.endswith("svg"):
        assert "9 distances" in plot.read_text()
        run("distances", x, "--plot", plot)
        assert "6 distances" in plot.read_text()  # of a row to itself says nothing
    else:
        with Image.open(plot) as picture:
            picture.verify()


def test_without_matplotlib_it_is_said_before_the_work(x: Path) -> None:
    with mock.patch.dict(sys.modules, {"matplotlib": None}):
        message = refusal("distances", x, "--plot", x.parent / "p.png", "--out", x.parent / "o.npy")
    assert message == "Drawing a plot needs matplotlib: in a checkout, pip install '.[plot]'."
    assert not (x.parent / "o.npy").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["x.npy", "--paired"], "Give y, or leave paired out"),
        (["x.npy", "--metric", "nuclear"], "compares two whole matrices: give X and Y"),
        (["x.npy", "y.csv", "--metric", "nuclear", "--paired"], "leave paired out"),
        (["x.npy", "y.csv", "--metric", "frobenius", "--plot", "p.png"], "no histogram"),
        (["x.npy", "--metric", "kl_divergence", "--normalize"], "leave normalize out"),
        (["x.npy", "--metric", "kl_divergence"], "Row 0 of x is no distribution"),
        (["x.npy", "--metric", "cosine"], "Row 0 of x is zero"),
        (["x.npy", "--metric", "cosine", "--p", "3"], "cosine takes no p"),
        (["x.npy", "three.npy"], "y has 3 columns where x has 2"),
        (["x.npy", "three.npy", "--out", "x.npy"], "x.npy is read by this command; write to another file."),
        (["x.npy", "--out", "o.txt"], "must end in .npy, .safetensors or .csv"),
        (["x.npy", "--plot", "p.jpg"], "must end in .png or .svg"),
        (["x.npy", "y.csv", "--metric", "frobenius", "--reduction", "mean"], "leave reduction out"),
        (["x.npy", "--label-column", "who"], "--label-column is about .csv files"),
        (["x.npy", "three.npy", "--no-header"], "--header or --no-header is about .csv files"),
        (["x.npy", "--label-column", "who", "y.csv"], "there is no column 'who'"),
        (["nowhere.npy"], "There is no file nowhere.npy."),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    x: Path, y: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(x.parent)
    np.save("three.npy", np.ones((2, 3)))
    assert words in refusal("distances", *arguments)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("[...] can't allocate memory: you tried")])
def test_what_does_not_fit_in_memory_is_said_in_a_sentence(x: Path, error: Exception) -> None:
    with mock.patch("service.cli.distances.compare", side_effect=error):
        assert refusal("distances", x).startswith("There is not enough memory for this.")


def test_another_failure_keeps_its_traceback(x: Path) -> None:
    with mock.patch("service.cli.distances.compare", side_effect=RuntimeError("a fault of ours")):
        result = CliRunner().invoke(main, ["distances", str(x)])
    assert isinstance(result.exception, RuntimeError)


@pytest.mark.parametrize("count", [2, 11, 12])
@pytest.mark.parametrize("with_y", [False, True])
def test_the_spread_is_that_of_the_distances_and_leaves_the_answer_alone(
    tmp_path: Path, count: int, with_y: bool
) -> None:
    rows = np.random.default_rng(count).normal(size=(count, 3))
    x, y, out = (tmp_path / name for name in ("x.npy", "y.npy", "o.npy"))
    np.save(x, rows)
    np.save(y, rows[:5] + 1)
    lines = run("distances", x, *([y] if with_y else []), "--out", out).stdout.splitlines()
    dense = torch.cdist(torch.from_numpy(rows), torch.from_numpy(rows[:5] + 1 if with_y else rows)).numpy()
    np.testing.assert_allclose(np.load(out), dense, atol=1e-12)
    counted = dense.ravel() if with_y else dense[~np.eye(count, dtype=bool)]
    facts = dict(line.split(maxsplit=1) for line in lines[2:6])
    assert facts == {name: f"{getattr(np, name)(counted):.6g}" for name in ("min", "median", "mean", "max")}


def test_help_does_not_wait_for_torch() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from service.cli import main; "
        "CliRunner().invoke(main, ['losses', 'batch', '--help']); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'matplotlib')))"
    )
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
