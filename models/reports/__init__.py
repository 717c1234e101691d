"""Evaluations as files: JSON for programs, and a report with pictures for people."""

import logging

from models.errors import OptionError
from models.evaluation import Evaluation, as_json
from models.manifest import REPORT_NAMES
from models.plots import require_matplotlib
from models.reports.page import report_html
from models.runtime import Encoder

__all__ = ["evaluation_files", "report_html"]

log = logging.getLogger(__name__)


def evaluation_files(encoder: Encoder, evaluation: Evaluation, *, pictures: bool) -> dict[str, bytes]:
    """Return the files of an evaluation, for a bundle or a folder.

    Args:
        encoder: that was evaluated.
        evaluation: what was found.
        pictures: whether the report shows thumbnails of the set, and names files and identities. A bundle
            that others are given must not, unless the set's terms allow it.

    Returns:
        evaluation.json, and report.html where matplotlib is installed; else the log says how to get it.

    Raises:
        DatasetError: a picture that cannot be read any more.
    """
    name, report = REPORT_NAMES
    files: dict[str, bytes] = {name: as_json(encoder, evaluation)}
    try:
        require_matplotlib()
    except OptionError as error:
        log.warning("There is no %s: %s", report, error)
        return files
    return files | {report: report_html(encoder, evaluation, pictures=pictures).encode()}
