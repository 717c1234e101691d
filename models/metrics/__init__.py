"""How well an encoder finds, verifies and identifies: exact figures, with the counts behind them.

    retrieval       closed sets: CMC, mAP, mINP; R@k and MAP@R
    verification    pairs: ROC, AUC, EER, the folds of LFW
    operating       pairs at a threshold: TAR@FAR
    open_set        probes that may be of nobody: FPIR, DIR
    few_shot        episodes and one-shot trials
    intervals       how far a figure may be off

Everywhere smaller is closer, equal distances keep the gallery's order, and a distance d is accepted under a
threshold t where d < t.
"""

from models.metrics.few_shot import FewShot, Trials, episodes, one_shot_trials, within_alphabet_trials
from models.metrics.intervals import Interval, bootstrap_mean
from models.metrics.open_set import Identification, OpenSet, open_set, open_set_of
from models.metrics.operating import OperatingPoint, operating_intervals, tar_at_far
from models.metrics.pairs import PairDistances, PairIdentities, given_pairs, pair_distances
from models.metrics.ranking import Rankings
from models.metrics.retrieval import MetricLearning, Retrieval, metric_learning, retrieval, retrieval_of
from models.metrics.strips import Labels
from models.metrics.thresholds import pairs_needed, threshold_at
from models.metrics.verification import Folds, Roc, lfw_accuracy, roc

__all__ = [
    "FewShot",
    "Folds",
    "Identification",
    "Interval",
    "Labels",
    "MetricLearning",
    "OpenSet",
    "OperatingPoint",
    "PairDistances",
    "PairIdentities",
    "Rankings",
    "Retrieval",
    "Roc",
    "Trials",
    "bootstrap_mean",
    "episodes",
    "given_pairs",
    "lfw_accuracy",
    "metric_learning",
    "one_shot_trials",
    "open_set",
    "open_set_of",
    "operating_intervals",
    "pair_distances",
    "pairs_needed",
    "retrieval",
    "retrieval_of",
    "roc",
    "tar_at_far",
    "threshold_at",
    "within_alphabet_trials",
]
