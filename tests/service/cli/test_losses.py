"""`lookalike losses`: the numbers of plain loops and of torch, from any file."""

import json
import math
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file
from torch.nn import functional as F

from tests.models import oracles
from tests.service.cli.commands import answer, refusal, run

ROWS = np.random.default_rng(0).normal(size=(10, 4))
LABELS = np.array([0, 1, 0, 2, 1, 1, 3, 0, 2, 0])
DENSE = oracles.matrix(ROWS.tolist(), ROWS.tolist(), oracles.DISTANCES["euclidean"])
TRIPLETS = {
    name: np.random.default_rng(n).normal(size=(6, 3))
    for n, name in enumerate(("anchor", "positive", "negative"))
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go where the same embeddings and labels are in every form."""
    monkeypatch.chdir(tmp_path)
    names = [f"car{label}" for label in LABELS]
    np.save("x.npy", ROWS)
    np.save("labels.npy", LABELS)
    np.save("names.npy", names)
    np.savetxt("x.csv", ROWS, delimiter=",")
    save_file({"embeddings": ROWS, "labels": LABELS}, "x.safetensors")
    Path("names.csv").write_text(
        "\n".join(["path,identity", *(f"{n}.jpg,{name}" for n, name in enumerate(names))])
    )
    lines = [f"{name},{','.join(map(repr, row))}" for name, row in zip(names, ROWS.tolist(), strict=True)]
    Path("table.csv").write_text("\n".join(["identity,a,b,c,d", *lines]))
    for name, rows in TRIPLETS.items():
        np.save(f"{name}.npy", rows)
    save_file(TRIPLETS, "triplets.safetensors")
    return tmp_path


@pytest.mark.parametrize(
    "source",
    [
        ["x.npy", "--labels", "labels.npy"],
        ["x.npy", "--labels", "names.csv"],
        ["x.csv", "--labels", "names.npy"],
        ["x.csv", "--labels", "x.safetensors:labels"],
        ["table.csv"],
        ["table.csv", "--labels", "labels.npy"],
        ["x.safetensors"],
    ],
)
@pytest.mark.parametrize("mining", ["all", "hard", "semi_hard"])
@pytest.mark.parametrize("margin", ["0.4", "soft"])
def test_a_batch_is_a_plain_loop(source: list[str], mining: str, margin: str) -> None:
    found = answer("losses", "batch", *source, "--mining", mining, "--margin", margin)
    number = None if margin == "soft" else float(margin)
    expected = oracles.batch_losses(DENSE, LABELS.tolist(), mining, number)
    reduction = "mean_active" if mining == "all" else "mean"
    assert found == {
        "loss": pytest.approx(oracles.folded(expected, reduction, number), rel=1e-9),
        "mining": mining,
        "reduction": reduction,
        "valid_triplets": len(expected.triplets),
        "active_triplets": len(expected.triplets) - (expected.easy if number else 0),
        "fraction_active": pytest.approx(1 - (expected.easy / len(expected.triplets) if number else 0)),
        "easy": expected.easy,
        "semi_hard": expected.semi_hard,
        "hard": expected.hard,
        "skipped_anchors": 1,
        "collapsed": False,
    }


def test_people_read_a_summary_and_the_worst_triplets() -> None:
    expected = oracles.batch_losses(DENSE, LABELS.tolist(), "hard", 0.2)
    result = run("losses", "batch", "table.csv", "--mining", "hard", "--return-triplets", "2")
    facts, _, listed = result.stdout.partition("\n\n")
    assert dict(line.split(maxsplit=1) for line in facts.splitlines() if "skipped" not in line) == {
        "loss": f"{oracles.folded(expected, 'mean', 0.2):.6g} (mean)",
        "mining": "hard",
        "margin": "0.2",
        "triplets": f"9 valid: {expected.easy} easy, {expected.semi_hard} semi-hard, {expected.hard} hard",
        "active": f"{9 - expected.easy} ({(9 - expected.easy) / 9:.1%})",
        "collapsed": "no",
        "distance": "euclidean",
        "embeddings": "10 of 4 numbers, 4 labels",
    }
    assert "skipped anchors  1 (without a positive, or without a negative)" in facts
    names, *rows = (line.split() for line in listed.splitlines())
    assert names == ["anchor", "positive", "negative", "label", "negative's", "d_ap", "d_an", "loss"]
    worst = max(range(9), key=lambda row: expected.costs[row])
    a, p, n = expected.triplets[worst]
    assert rows[0][:5] == [str(a), str(p), str(n), f"car{LABELS[a]}", f"car{LABELS[n]}"]
    assert float(rows[0][7]) == pytest.approx(expected.costs[worst], rel=1e-5)
    assert len(rows) == 2


def test_a_terminal_gets_the_same_words() -> None:
    np.save("names.npy", [f"[red]{label}" for label in LABELS])
    with mock.patch("service.cli.reports.sys.stdout.isatty", return_value=True, create=True):
        result = run("losses", "batch", "x.npy", "--labels", "names.npy", "--return-triplets", "1")
    assert result.exit_code == 0
    assert "[red]" in result.stdout
    assert "valid:" in result.stdout


@pytest.mark.parametrize(("margin", "words"), [("0.2", "the margin, 0.2"), ("soft", "ln 2 = 0.6931")])
def test_collapse_is_explained(margin: str, words: str) -> None:
    np.save("x.npy", np.ones((4, 3)))
    np.save("labels.npy", [0, 0, 1, 1])
    result = run("losses", "batch", "x.npy", "--labels", "labels.npy", "--margin", margin)
    assert "collapsed        yes: all embeddings lie at one point" in result.stdout
    assert words in result.stdout


@pytest.mark.parametrize("out", ["g.npy", "g.safetensors", "g.csv"])
def test_gradients_are_those_of_a_central_difference(out: str) -> None:
    command = ("losses", "batch", "--labels", "labels.npy", "--reduction", "sum", "--normalize")
    run(*command, "x.npy", "--gradients-out", out)
    read: dict[str, Any] = {".npy": np.load, ".csv": lambda path: np.loadtxt(path, delimiter=",")}
    gradient = load_file(out)["gradients"] if out.endswith("s") else read[Path(out).suffix](out)
    assert gradient.shape == ROWS.shape
    step = np.zeros_like(ROWS)
    step[2, 1] = 1e-6
    losses = []
    for rows in (ROWS + step, ROWS - step):
        np.save("moved.npy", rows)
        losses.append(answer(*command, "moved.npy")["loss"])
    assert gradient[2, 1] == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-4)


def test_the_answer_is_written_too() -> None:
    found = answer("losses", "batch", "x.safetensors", "--return-triplets", "3", "--out", "a.json")
    assert json.loads(Path("a.json").read_text()) == found
    assert len(found["triplets"]) == 3
    assert set(found["triplets"][0]) == {"anchor", "positive", "negative", "d_ap", "d_an", "loss"}


def test_a_loss_for_each_anchor_is_summed_up_for_people() -> None:
    command = ("losses", "batch", "x.safetensors", "--mining", "hard", "--reduction", "none")
    losses = answer(*command)["loss"]
    assert len(losses) == 9
    assert f"9 losses from {min(losses):.6g} to {max(losses):.6g}" in run(*command).stdout


@pytest.mark.parametrize("normalize", [(), ("--normalize",)])
@pytest.mark.parametrize(
    ("margin", "words"), [("0.3", "margin 0.3 from the mean"), ("soft", "margin is soft")]
)
def test_the_plot_counts_every_pair(margin: str, words: str, normalize: tuple[str, ...]) -> None:
    command = ("losses", "batch", "x.safetensors", "--margin", margin, *normalize)
    assert run(*command, "--plot", "p.svg").exit_code == 0
    run(*command, "--plot", "p.png")
    same = (LABELS[:, None] == LABELS).sum()
    text = Path("p.svg").read_text()
    for shown in (words, f"d_ap: {same - 10} pairs", f"d_an: {100 - same} pairs", "euclidean distance"):
        assert shown in text
    rows = torch.from_numpy(ROWS)
    rows = F.normalize(rows) if normalize else rows
    inside = torch.cdist(rows, rows)[torch.from_numpy((LABELS[:, None] == LABELS) & ~np.eye(10, dtype=bool))]
    assert f"{inside.mean():.4g}" in text
    with Image.open("p.png") as picture:
        picture.verify()


@pytest.mark.parametrize(
    ("options", "torch_options"),
    [
        ([], {}),
        (
            ["--margin", "0.3", "--swap", "--reduction", "sum"],
            {"margin": 0.3, "swap": True, "reduction": "sum"},
        ),
        (["--p", "1", "--eps", "0.01"], {"p": 1, "eps": 0.01}),
        (["--reduction", "none"], {"reduction": "none"}),
    ],
)
@pytest.mark.parametrize("files", [["anchor.npy", "positive.npy", "negative.npy"], ["triplets.safetensors"]])
def test_given_triplets_are_torchs(
    files: list[str], options: list[str], torch_options: dict[str, Any]
) -> None:
    found = answer("losses", "triplet", *files, *options, "--gradients-out", "g.safetensors")
    rows = {name: torch.tensor(values, requires_grad=True) for name, values in TRIPLETS.items()}
    expected = F.triplet_margin_loss(*rows.values(), **torch_options)  # type: ignore[arg-type]
    np.testing.assert_allclose(found["loss"], expected.detach(), rtol=1e-9)
    assert set(found) == {"loss", "reduction", "valid_triplets", "active_triplets", "fraction_active"}
    gradients = torch.autograd.grad(expected.sum(), tuple(rows.values()))
    for name, gradient in zip(rows, gradients, strict=True):
        np.testing.assert_allclose(load_file("g.safetensors")[name], gradient, rtol=1e-7, atol=1e-12)


def test_given_triplets_are_reported_and_plotted() -> None:
    result = run(
        "losses", "triplet", "triplets.safetensors", "--metric", "cosine", "--swap", "--plot", "p.svg"
    )
    assert result.exit_code == 0
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert set(lines) == {"loss", "margin", "triplets", "active", "distance"}
    assert lines["triplets"] == "6"
    text = Path("p.svg").read_text()
    assert "d_ap: 6 pairs" in text
    assert "cosine distance" in text


def test_alpha_adds_both_distances() -> None:
    base, more = (
        answer("losses", "triplet", "triplets.safetensors", "--alpha", a)["loss"] for a in ("0", "0.5")
    )
    a, p, n = TRIPLETS.values()
    both = np.linalg.norm(a - p + 1e-6, axis=1) + np.linalg.norm(a - n + 1e-6, axis=1)
    assert more == pytest.approx(base + 0.5 * both.mean(), rel=1e-9)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["batch", "x.npy"], "x.npy has no labels: give them with --labels FILE"),
        (["batch", "x.csv"], "x.csv has no labels"),
        (["batch", "nowhere.npy"], "There is no file nowhere.npy."),
        (["batch", "x.npy", "--labels", "few.npy"], "few.npy has 2 labels for the 10 rows of x.npy"),
        (
            ["batch", "x.npy", "--labels", "eleven.csv"],
            "there must be one for each row. If its first line names the column, add --header.",
        ),
        (["batch", "x.npy", "--labels", "pickled.npy"], "never unpickled"),
        (["batch", "x.npy", "--labels", "same.npy"], "No triplet can be formed"),
        (["batch", "x.npy", "--labels", "same.npy", "--plot", "p.png"], "No triplet can be formed"),
        (["batch", "x.safetensors", "--reduction", "none"], "Mining all has no list of losses"),
        (["batch", "x.safetensors", "--margin", "-1"], "margin must be a finite number greater than 0"),
        (["batch", "x.safetensors", "--gradients-out", "x.safetensors"], "is read by this command"),
        (["batch", "x.npy", "--labels", "labels.npy", "--gradients-out", "labels.npy"], "is read by this"),
        (["batch", "x.safetensors", "--out", "a.txt"], "must end in .json"),
        (["batch", "x.safetensors", "--label-column", "who"], "--label-column is about .csv files"),
        (["triplet", "triplets.safetensors", "--header"], "--header or --no-header is about .csv files"),
        (["triplet", "anchor.npy"], "Give three files, ANCHOR POSITIVE NEGATIVE"),
        (["triplet", "triplets.safetensors", "positive.npy"], "Give three files"),
        (["triplet", "x.safetensors"], "has no tensor 'anchor'; it has embeddings, labels."),
        (["triplet", "anchor.npy", "positive.npy", "few2.npy"], "negative has 1 rows where anchor has 6"),
        (["triplet", "triplets.safetensors", "--metric", "cosine", "--eps", "1"], "cosine takes no eps"),
        (["triplet", "triplets.safetensors", "--gradients-out", "g.npy"], "must end in .safetensors"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(arguments: list[str], words: str) -> None:
    np.save("few.npy", [0, 1])
    np.save("few2.npy", np.ones((1, 3)))
    np.save("same.npy", [0] * 10)
    np.save("pickled.npy", np.array([0, "a"] * 5, dtype=object))
    Path("eleven.csv").write_text("who\n" + "ann\n" * 10)
    assert words in refusal("losses", *arguments)
    assert not Path("p.png").exists()


def test_a_margin_that_is_no_number_is_refused_by_its_option() -> None:
    result = run("losses", "batch", "x.safetensors", "--margin", "wide")
    assert result.exit_code == 2
    assert "--margin" in result.output


def test_without_matplotlib_it_is_said_before_the_work() -> None:
    with mock.patch.dict(sys.modules, {"matplotlib": None}):
        message = refusal("losses", "batch", "x.safetensors", "--plot", "p.png", "--out", "a.json")
    assert "pip install '.[plot]'" in message
    assert not Path("a.json").exists()


def test_soft_margin_of_equal_distances_is_ln_2() -> None:
    np.save("x.npy", [[0.0], [1.0], [1.0]])
    np.save("labels.npy", ["a", "a", "b"])
    found = answer(
        "losses", "batch", "x.npy", "--labels", "labels.npy", "--margin", "soft", "--mining", "hard"
    )
    assert found["loss"] == pytest.approx((math.log(2) + math.log1p(math.e)) / 2)
