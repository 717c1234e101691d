"""The real server on real pictures answers what a plain loop outside it does."""

import pytest

from benchmarks.real_data import DISTANCE_TOLERANCE, Outcome, prove_all
from tests.data import real_data

pytestmark = [pytest.mark.system, pytest.mark.data]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    found = prove_all(real_data(), tmp_path_factory.mktemp("real_data"), quick=True)
    return {outcome.task.name: outcome for outcome in found}


def test_every_query_gets_the_items_and_distances_of_the_plain_loop(outcomes: dict[str, Outcome]) -> None:
    for name, outcome in outcomes.items():
        assert outcome.other_order == 0, name
        assert outcome.largest_difference <= DISTANCE_TOLERANCE, name


def test_rank_1_and_map_are_those_of_the_plain_loop(outcomes: dict[str, Outcome]) -> None:
    for outcome in outcomes.values():
        assert outcome.service.rank_1 == outcome.plain.rank_1
        assert outcome.service.mean_average_precision == pytest.approx(
            outcome.plain.mean_average_precision, abs=1e-5
        )
        assert outcome.agrees


# A preprocessing that is wrong on both sides alike would agree with itself; it would not recognise anybody.
@pytest.mark.parametrize(
    ("name", "rank_1"), [("lfw faces", 0.95), ("vehicles 1 > 2", 0.4), ("market1501", 0.75)]
)
def test_the_imported_encoders_recognise_people_and_vehicles(
    outcomes: dict[str, Outcome], name: str, rank_1: float
) -> None:
    assert outcomes[name].service.rank_1 >= rank_1


def test_the_junk_rule_had_more_to_leave_out_than_the_query_itself(outcomes: dict[str, Outcome]) -> None:
    task = outcomes["market1501"].task
    junk = sum(task.is_junk(query, item) for query in task.queries for item in task.gallery)
    assert junk > 2 * len(task.queries)
