"""Who computes a case."""

from benchmarks.core.cases import Case
from benchmarks.core.distance_peers import distance_peers, metric_peers
from benchmarks.core.loss_peers import LOSS_PEERS, Peer

__all__ = ["OURS", "Peer", "peers_of"]

OURS = "Lookalike"


def peers_of(case: Case) -> dict[str, Peer]:
    """Return the peers by name, ours first."""
    if case.is_loss:
        peers = LOSS_PEERS[case.group]
    else:
        peers = distance_peers(case) if case.group == "distances" else metric_peers(case)
    return {peer.name: peer for peer in peers}
