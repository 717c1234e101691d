"""A record's configuration once more, in a small file beside it: for where the record's own is damaged."""

import logging
from pathlib import Path

import orjson

from service.gallery.collection import CollectionConfig
from service.gallery.folders import refusals
from service.gallery.record_meta import config_meta, config_of

__all__ = ["config_file", "keep_config", "kept_config"]

_logger = logging.getLogger(__name__)


def config_file(record: Path) -> Path:
    """Return where the copy is; it may be removed, and the next start makes it anew."""
    return record.with_name("config.json")


def keep_config(record: Path, config: CollectionConfig) -> None:
    """Write the copy where it is not there as it should be; a disk that refuses is said in the log alone."""
    copy = config_file(record)
    content = orjson.dumps(config_meta(config), option=orjson.OPT_APPEND_NEWLINE)
    try:
        if copy.exists() and copy.read_bytes() == content:
            return
        new = copy.with_name(f"{copy.name}.new")
        new.write_bytes(content)
        new.replace(copy)  # without fsync: what a power cut spoils has another checksum
    except OSError as error:
        _logger.warning("%s could not be written, and is at the next start: %s", copy, error)


def kept_config(record: Path) -> CollectionConfig | None:
    """Return the configuration that the copy holds; None where there is none, or not as it was written.

    Raises:
        StorageError: the disk refused.
    """
    copy = config_file(record)
    with refusals(record.parent):
        if not copy.exists():
            return None
        try:
            meta = orjson.loads(copy.read_bytes())
        except orjson.JSONDecodeError:
            return None
    return config_of(meta) if isinstance(meta, dict) else None
