"""Some rows are scanned alike wherever they lie, by however many threads."""

import faiss
import numpy as np
import pytest

from service.gallery.index.scanning import SHARED_ROWS, scan, scan_at


@pytest.mark.parametrize("rows", [SHARED_ROWS - 1, SHARED_ROWS + 1])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("product", [False, True])
def test_the_nearest_of_some_rows_are_found(rows: int, threads: int, product: bool) -> None:
    random = np.random.default_rng(1)
    vectors = random.standard_normal((3 * SHARED_ROWS, 4)).astype(np.float32)
    queries = random.standard_normal((1, 4)).astype(np.float32)
    among = np.sort(random.choice(len(vectors), rows, replace=False))
    (found,), worst = scan_at(queries, vectors, among, 7, product=product, threads=threads)
    near = vectors[among].astype(np.float64)
    scores = -near @ queries[0] if product else ((near - queries[0]) ** 2).sum(axis=1)
    order = np.argsort(scores)[:7]
    assert sorted(found.tolist()) == sorted(among[order].tolist())
    np.testing.assert_allclose(worst, [-scores[order[-1]] if product else scores[order[-1]]], rtol=1e-5)


@pytest.mark.parametrize(("rows", "queries", "threads"), [(4_000, 2, 1), (70_000, 2, 2), (70_000, 1, 1)])
def test_few_rows_are_scanned_by_one_thread(rows: int, queries: int, threads: int) -> None:
    vectors = np.random.default_rng(1).standard_normal((rows, 64)).astype(np.float32)
    positions, worst = scan(vectors[:queries], vectors, 3, product=False, threads=2)
    assert faiss.omp_get_max_threads() == threads
    assert positions[:, 0].tolist() == list(range(queries))
    assert (worst > 0).all()
