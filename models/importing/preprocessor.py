"""preprocessor_config.json: how a Hugging Face model wants its pictures."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from models.errors import BundleError
from models.images import Resize
from models.importing.preparation import Preparation

__all__ = ["Preprocessor", "read_json", "read_preprocessor"]

_RESIZE: dict[int, Resize] = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers
_LARGEST = 8 * 2**20  # bytes; public ones have some kilobytes


class Preprocessor(NamedTuple):
    """What the file says; `notes` are sentences on what is done otherwise here."""

    preparation: Preparation
    notes: tuple[str, ...]
    found: bool


def read_preprocessor(folder: Path) -> Preprocessor:
    """Read a folder's preprocessor_config.json, or the same within a processor_config.json.

    Raises:
        BundleError: it is no JSON, or its entries are not what the library writes.
    """
    content = read_json(folder / "preprocessor_config.json")
    if content is None:
        inner = (read_json(folder / "processor_config.json") or {}).get("image_processor")
        content = inner if isinstance(inner, dict) else None
    if content is None:
        return Preprocessor(Preparation(), (), found=False)
    try:
        return _read(content)
    except (TypeError, ValueError, KeyError, ZeroDivisionError) as error:
        raise BundleError(
            f"The preprocessor_config.json of {folder} is not as the library writes it. Download it again, "
            "or take it away and give --size, --mean and --std."
        ) from error


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object in a JSON file, or None where there is no such file.

    Raises:
        BundleError: it cannot be read, or holds no JSON object.
    """
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > _LARGEST:
            raise BundleError(f"{path} is larger than {_LARGEST} bytes, so it is no configuration.")
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is no JSON. Download it again. ({error}.)") from error
    if not isinstance(content, dict):
        raise BundleError(f"{path} holds no JSON object.")
    return content


def _read(content: dict[str, Any]) -> Preprocessor:
    """Return what the entries say; those that are absent have the library's defaults."""
    notes = []
    cropped = bool(content.get("do_center_crop")) and content.get("crop_size") is not None
    size = content.get("crop_size" if cropped else "size")
    if cropped or (isinstance(size, dict) and "shortest_edge" in size):
        notes.append(
            "Its own preprocessing keeps the proportions and cuts the middle out; here the whole picture is "
            "resized."
        )
    number = content.get("resample")
    if number is not None and number not in _RESIZE:
        notes.append(f"It resizes by Pillow's filter {number}, which is not offered: bilinear is taken.")
    # (pixel factor - mean) / std, as (pixel - mean / factor) / (std / factor)
    factor = float(content.get("rescale_factor", 1 / 255)) if content.get("do_rescale", True) else 1.0
    mean: tuple[float, ...] | None = (0.0,)
    std: tuple[float, ...] | None = (1 / factor,)
    if content.get("do_normalize", True):
        mean = _numbers(content.get("image_mean"), factor)
        std = _numbers(content.get("image_std"), factor)
    preparation = Preparation(
        size=_size(size),
        mean=mean,
        std=std,
        resize=None if number is None else _RESIZE.get(number, "bilinear"),
    )
    return Preprocessor(preparation, tuple(notes), found=True)


def _size(value: object) -> tuple[int, int] | None:
    """Return (height, width) of one number, of a shortest edge, or of both."""
    if isinstance(value, int):
        return value, value
    if not isinstance(value, dict):
        return None
    if "shortest_edge" in value:
        return int(value["shortest_edge"]), int(value["shortest_edge"])
    return int(value["height"]), int(value["width"])


def _numbers(values: Any, factor: float) -> tuple[float, ...] | None:
    return None if values is None else tuple(round(float(value) / factor, 6) for value in values)
