"""`lookalike encoder add-detector`: an encoder of faces made to take photographs."""

from pathlib import Path
from shlex import quote

import click

from service.cli.loading import loading
from service.cli.options import check_new, replace_option, size

__all__ = ["add_detector_command"]


@click.command(name="add-detector")
@click.argument("bundle")
@click.argument("detector", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The folder of the bundle to write."
)
@click.option("--name", help="By which it is hosted.  [default: BUNDLE's name]")
@click.option(
    "--faces",
    type=click.Choice(["largest", "all", "one"]),
    default="largest",
    show_default=True,
    help="Which faces of a picture are meant unless a request says so; one: there must be exactly one.",
)
@click.option(
    "--score",
    type=click.FloatRange(0, 1, min_open=True),
    help="Faces below this score are not found.  [default: 0.6 for RetinaFace, 0.5 for SCRFD]",
)
@click.option(
    "--size", "input_size", metavar="HEIGHTxWIDTH", help="Input size, where the graph leaves it open."
)
@replace_option
def add_detector_command(
    bundle: str, detector: Path, out: Path, replace: bool, input_size: str | None, **given: object
) -> None:
    """Make of BUNDLE, an encoder of aligned faces, one of photographs, with the ONNX graph DETECTOR.

    The detector finds faces with five landmarks: a RetinaFace, or an SCRFD as InsightFace has them. Faces are
    turned and scaled to the template of ArcFace before they are encoded.
    """
    with loading():
        from models.bundle import find_bundle  # noqa: PLC0415 - as in serve
        from models.detector_import import DetectorOptions, add_detector  # noqa: PLC0415 - as in serve

    folder = find_bundle(bundle)
    check_new(out, replace=replace)
    options = DetectorOptions(size=size(input_size), **given)  # type: ignore[arg-type]
    manifest = add_detector(folder, detector, out, options).manifest
    found = manifest.detector
    assert found is not None
    click.echo(
        f"{detector} is read as {found.kind}, {found.height} x {found.width} (height x width): faces from a "
        f"score of {found.score_threshold:g} on, {found.faces} unless a request says otherwise."
    )
    click.echo(f"Wrote {out}: encoder {manifest.name!r}, fingerprint {manifest.fingerprint[:12]}.")
    click.echo(f"Host it with: lookalike serve --encoder {quote(str(out))}")
