"""What a bundle says about itself, as facts and tables for people and one record for programs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from service.cli.reports import Facts, show_facts, show_table

if TYPE_CHECKING:
    from models.bundle import Bundle

__all__ = ["card", "show_card"]

_ABSENT = "-"
_WARNINGS = "warnings"
_ONE_OF_TWO = (("hold_out", "val_split"), ("minutes", "steps"))  # options, of which the first wins


def card(bundle: "Bundle") -> dict[str, Any]:
    """Return a bundle's manifest with what follows from its files: fingerprint, parameters, bytes.

    Raises:
        BundleError: the weights do not fit the architecture.
    """
    manifest = bundle.manifest
    return {
        **manifest.model_dump(mode="json"),
        "fingerprint": manifest.fingerprint,
        "parameters": _parameters(bundle),
        "weights_bytes": len(bundle.weights),
        "reports": sorted(bundle.reports),
    }


def show_card(card: Mapping[str, Any]) -> None:
    """Print a card: what the encoder is, how good, at which thresholds, and how it was made."""
    show_facts(_identity(card))
    for title, record in (("evaluation", card["evaluation"]), ("training", _trained(card["training"]))):
        if record:
            _show_record(title, record)
    if card["calibration"]:
        _show_calibration(card["calibration"])


def _parameters(bundle: "Bundle") -> int | None:
    """Count the numbers that were learned; None for a graph, in which they cannot be told from the rest."""
    if bundle.manifest.architecture is None:
        return None
    from models.runtime import load_network  # noqa: PLC0415 - with torch, as in serve

    network = load_network(bundle.manifest, bundle.state_dict())
    return sum(parameter.numel() for parameter in network.parameters())


def _identity(card: Mapping[str, Any]) -> Facts:
    """Return what the encoder is, in one line each; what is not stated is left out."""
    given, architecture = card["input"], card["architecture"]
    facts = [
        ("name", card["name"]),
        ("description", card["description"]),
        ("intended use", card["intended_use"]),
        ("licence", card["licence"]),
        ("engine", "PyTorch" if architecture else "ONNX Runtime"),
        ("network", _network(architecture) if architecture else ""),
        ("parameters", f"{card['parameters']:,}" if card["parameters"] is not None else ""),
        ("weights", f"{card['weights_bytes'] / 1e6:.2f} MB"),
        ("input", f"{given['height']} x {given['width']}, {given['channels']}, {given['resize']}"),
        ("pixels", f"minus {_listed(given['mean'])}, divided by {_listed(given['std'])}"),
        ("dimension", str(card["dimension"])),
        ("detector", _detector(card["detector"]) if card["detector"] else ""),
        ("normalised", "yes" if card["normalize"] else "no"),
        ("metric", card["metric"]),
        ("fingerprint", card["fingerprint"]),
        ("derived from", card["derived_from"] or ""),
        ("reports", ", ".join(card["reports"])),
    ]
    return [(name, value) for name, value in facts if value]


def _detector(detector: Mapping[str, Any]) -> str:
    size = f"{detector['height']} x {detector['width']}"
    return f"{detector['kind']}, {size}, score {detector['score_threshold']:g}, faces: {detector['faces']}"


def _network(architecture: Mapping[str, Any]) -> str:
    params = ", ".join(f"{name} {value}" for name, value in architecture["params"].items())
    return f"{architecture['name']} ({params})" if params else str(architecture["name"])


def _show_record(title: str, record: Mapping[str, Any]) -> None:
    """Print a record of whatever keys: its values as facts, its records of records as tables."""
    facts = [
        (name, _cell(value))
        for name, value in record.items()
        if name != _WARNINGS and not isinstance(value, Mapping)
    ]
    _heading(title)
    if facts:
        show_facts(facts)
    for sentence in record.get(_WARNINGS) or ():
        click.echo(f"Note: {sentence}")
    for name, value in record.items():
        if not isinstance(value, Mapping) or not value:
            continue
        if all(isinstance(row, Mapping) for row in value.values()):
            _heading(f"{title}: {name}")
            show_table(list(_rows(value)))
        else:
            _show_record(f"{title}: {name}", value)


def _trained(training: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return the record of a training without those options of a pair that did not hold."""
    config = (training or {}).get("config")
    if not training or not isinstance(config, Mapping):
        return training
    idle = {pair[config.get(pair[0]) is not None] for pair in _ONE_OF_TWO}
    return {**training, "config": {name: value for name, value in config.items() if name not in idle}}


def _rows(records: Mapping[str, Mapping[str, Any]]) -> Iterator[Sequence[str]]:
    """Yield a table's lines: a column for each key that any of the records has."""
    columns = list(dict.fromkeys(key for record in records.values() for key in record))
    yield ["", *columns]
    for name, record in records.items():
        yield [name, *(_cell(record.get(column)) for column in columns)]


def _show_calibration(calibration: Mapping[str, Any]) -> None:
    names = ("dataset", "split", "metric", "identities", "genuine_pairs", "impostor_pairs")
    _heading("calibration")
    show_facts([(name.replace("_", " "), _cell(calibration[name])) for name in names])
    _heading("calibration: accepted is a distance below the threshold")
    levels = [row["interval"]["level"] for row in calibration["thresholds"] if row["interval"]]
    interval = f"{100 * levels[0]:g} % interval" if levels else "interval"
    rows = [
        [
            f"{row['far']:g}",
            f"{row['threshold']:.6g}",
            _interval(row["interval"]),
            f"{row['measured_far']:.3g}",
            f"{row['tar']:.4f}",
            _interval(row["tar_interval"]),
        ]
        for row in calibration["thresholds"]
    ]
    show_table([["FAR", "threshold", interval, "measured FAR", "TAR", interval], *rows])


def _interval(interval: Mapping[str, float] | None) -> str:
    return _ABSENT if interval is None else f"{interval['low']:.4g} to {interval['high']:.4g}"


def _cell(value: Any) -> str:
    if value is None:
        return _ABSENT
    if isinstance(value, list | dict):
        return json.dumps(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _heading(title: str) -> None:
    click.echo(f"\n{title}")
