from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.codes import search
from tasks.codes.search import NearestRows, search_nearest


def brute_force(
    stored: NDArray[np.float32], queries: NDArray[np.float32], count: int
) -> NearestRows:
    """All squared distances, sorted; of equal ones the smallest row first."""
    differences = queries[:, np.newaxis].astype(np.float64) - stored
    squares = np.einsum("qnj,qnj->qn", differences, differences)
    rows = np.argsort(squares, axis=1, kind="stable")[:, :count]
    return NearestRows(rows, np.take_along_axis(squares, rows, axis=1))


def check(stored: NDArray[np.float32], queries: NDArray[np.float32], count: int) -> None:
    found, expected = search_nearest(stored, queries, count), brute_force(stored, queries, count)
    assert np.array_equal(found.rows, expected.rows)
    np.testing.assert_allclose(found.squares, expected.squares, rtol=1e-12)


def gammas(rows: int, size: int, seed: int) -> NDArray[np.float32]:
    """Positive and skewed, as codes under ReLU."""
    return np.random.default_rng(seed).gamma(0.5, 20, (rows, size)).astype(np.float32)


@pytest.mark.parametrize(("query_rows", "stored_rows"), [(256, 2**16), (7, 64), (1, 999)])
@pytest.mark.parametrize("count", [1, 5, 100])
@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_the_nearest_are_those_of_brute_force(
    rows: int, count: int, query_rows: int, stored_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "QUERY_ROWS", query_rows)
    monkeypatch.setattr(search, "STORED_ROWS", stored_rows)
    check(gammas(rows, 8, 0), gammas(40, 8, 1), count)


def test_vectors_may_be_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "PAIR_VALUES", 1000)  # one pair at a time
    check(gammas(300, 784, 0), gammas(20, 784, 1), 5)


@pytest.mark.parametrize("stored_rows", [2**16, 64])
@pytest.mark.parametrize("count", [1, 5, 100])
def test_of_equally_distant_vectors_the_smallest_rows_come_first(
    count: int, stored_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Codes of two small integers: most vectors have many equals."""
    monkeypatch.setattr(search, "STORED_ROWS", stored_rows)
    stored, queries = (np.rint(gammas(rows, 2, rows) / 10) for rows in (900, 50))
    check(stored, queries, count)


def test_rounding_of_the_product_does_not_decide() -> None:
    """Far from the origin, float32 products round away differences that the vectors have."""
    stored = (1000 + np.arange(600) / 64).astype(np.float32)[:, np.newaxis]
    queries = np.array([[1000 + 2 / 64], [1003.01]], np.float32)
    assert search_nearest(stored, queries, 3).rows[0].tolist() == [2, 1, 3]
    check(stored, queries, 50)


def test_equal_vectors_are_not_all_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def count_pairs(*arguments: Any) -> NDArray[np.float64]:
        compared.append(len(arguments[-1]))
        return squared_distances(*arguments)

    squared_distances = search._squared_distances
    monkeypatch.setattr(search, "_squared_distances", count_pairs)
    found = search_nearest(np.zeros((5000, 4), np.float32), np.ones((100, 4), np.float32), 5)
    assert np.array_equal(found.rows, np.tile(np.arange(5), (100, 1)))
    assert np.array_equal(found.squares, np.full((100, 5), 4.0))
    assert compared == [500]


def test_no_queries_find_nothing() -> None:
    found = search_nearest(gammas(9, 4, 0), np.empty((0, 4), np.float32), 5)
    assert (found.rows.shape, found.squares.shape) == ((0, 5), (0, 5))
