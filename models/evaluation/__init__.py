"""The protocols of evaluation, run on an encoder as it is served.

subject       what is measured, and by which protocol
embedding     pictures to embeddings
closed_set    retrieval, and re-ranking beside it
open_world    open-set identification
face_pairs    LFW's pairs
characters    Omniglot's trials
run           all of it
result        what was found
figures, document, warnings, conventions    the same in words and in JSON
"""

from models.evaluation.closed_set import ClosedSet, Reranking, Search
from models.evaluation.conventions import conventions_of
from models.evaluation.document import as_json, document
from models.evaluation.embedding import embed, mean_cosines, untrained
from models.evaluation.face_pairs import PairTest
from models.evaluation.figures import Figure, figures_of
from models.evaluation.findable import check_findable
from models.evaluation.result import Evaluation, EvaluationOptions
from models.evaluation.run import evaluate, measure
from models.evaluation.subject import (
    PROTOCOLS,
    Protocol,
    Subject,
    choose_protocol,
    measured_by,
    read_held_out,
    read_subject,
)
from models.evaluation.warnings import warnings_of

__all__ = [
    "PROTOCOLS",
    "ClosedSet",
    "Evaluation",
    "EvaluationOptions",
    "Figure",
    "PairTest",
    "Protocol",
    "Reranking",
    "Search",
    "Subject",
    "as_json",
    "check_findable",
    "choose_protocol",
    "conventions_of",
    "document",
    "embed",
    "evaluate",
    "figures_of",
    "mean_cosines",
    "measure",
    "measured_by",
    "read_held_out",
    "read_subject",
    "untrained",
    "warnings_of",
]
