"""The exact nearest neighbours of vectors, in NumPy."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

QUERY_ROWS = 128
STORED_ROWS = 2**16
"""Queries and stored vectors that one product compares: 32 MiB."""
PAIR_VALUES = 2**18
"""Values of vectors that are compared at once in float64: 2 MiB."""
ROUNDING = 2.0**-24
"""The largest relative error of one operation in float32."""


class NearestRows(NamedTuple):
    """The stored vectors that are nearest to each of some queries, nearest first."""

    rows: NDArray[np.int64]
    """(Q, count) rows of the stored vectors."""
    squares: NDArray[np.float64]
    """(Q, count) squared Euclidean distances."""


def search_nearest(
    stored: NDArray[np.float32], queries: NDArray[np.float32], count: int
) -> NearestRows:
    """Search the nearest stored vectors of each query; exact, by distances in float64.

    Of equally distant vectors the one with the smallest row comes first. Memory grows with neither
    argument, only with the result.

    Args:
        stored: (N, size), N > 0.
        queries: (Q, size).
        count: how many, at least 1; of fewer vectors all are found.
    """
    rows: NDArray[np.int64] = np.empty((len(queries), 0), np.int64)
    squares: NDArray[np.float64] = np.empty((len(queries), 0))
    for start in range(0, len(stored), STORED_ROWS):
        found = _search_part(stored[start : start + STORED_ROWS], queries, count)
        rows = np.hstack([rows, start + found.rows])
        squares = np.hstack([squares, found.squares])
        if start:
            nearest = np.argsort(squares, axis=1, kind="stable")[:, :count]
            rows = np.take_along_axis(rows, nearest, axis=1)
            squares = np.take_along_axis(squares, nearest, axis=1)
    return NearestRows(rows, squares)


def _search_part(
    stored: NDArray[np.float32], queries: NDArray[np.float32], count: int
) -> NearestRows:
    """Search the nearest of at most `STORED_ROWS` vectors, see `search_nearest`."""
    count = min(count, len(stored))
    rows, squares = np.empty((len(queries), count), np.int64), np.empty((len(queries), count))
    halves = np.einsum("ij,ij->i", stored, stored) / 2  # (N,)
    kept = _without_surplus(stored, halves, count)
    if len(kept) < len(stored):
        stored, halves = stored[kept], halves[kept]
    # As many groups as vectors are then looked at one by one.
    groups = int(np.sqrt(count * len(stored)))
    width = -(-len(stored) // groups) * groups
    closeness = np.full((min(len(queries), QUERY_ROWS), width), -np.inf, np.float32)
    for start in range(0, len(queries), QUERY_ROWS):
        block = queries[start : start + QUERY_ROWS]
        product = closeness[: len(block), : len(stored)]
        np.matmul(block, stored.T, out=product)
        product -= halves  # x s - |s|^2 / 2 is largest where |x - s|^2 is smallest
        margin = _rounding_margin(block, halves)
        owners, candidates = _find_candidates(closeness[: len(block)], groups, count, margin)
        found = _squared_distances(block, stored, owners, candidates)
        order = np.lexsort((candidates, found, owners))
        firsts = np.searchsorted(owners, np.arange(len(block)))  # the owners rise
        nearest = order[firsts[:, np.newaxis] + np.arange(count)]  # (rows of the block, count)
        rows[start : start + QUERY_ROWS] = kept[candidates[nearest]]
        squares[start : start + QUERY_ROWS] = found[nearest]
    return NearestRows(rows, squares)


def _without_surplus(
    vectors: NDArray[np.float32], halves: NDArray[np.float32], count: int
) -> NDArray[np.int64]:
    """Rows, rising, without those that `count` equal ones precede: they cannot be found.

    Otherwise many equal vectors, as those of a code whose units are 0, would all be candidates.
    """
    order = np.argsort(halves, kind="stable")
    repeated = np.append(False, np.diff(halves[order]) == 0)
    places = np.flatnonzero(repeated)
    repeated[places] = (vectors[order[places]] == vectors[order[places - 1]]).all(axis=1)
    places = np.arange(len(order))
    firsts = np.maximum.accumulate(np.where(repeated, 0, places))
    return np.sort(order[places - firsts < count])


def _rounding_margin(
    queries: NDArray[np.float32], halves: NDArray[np.float32]
) -> NDArray[np.float32]:
    """How far rounding may push two closenesses together or apart, (Q,).

    Source: Higham, Accuracy and Stability of Numerical Algorithms, section 3.1: the product of
    vectors of size n is off by at most n roundings of the product of their lengths.
    """
    longest = np.sqrt(2 * halves.max())
    lengths = np.linalg.norm(queries, axis=1)
    relative = 2 * (queries.shape[1] + 4) * ROUNDING
    return np.asarray(relative * longest * (lengths + longest), np.float32)


def _find_candidates(
    closeness: NDArray[np.float32], groups: int, count: int, margin: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of a row of `closeness` and a column that may be among its `count` largest.

    At least `count` values are as large as the maximum of the group that is the `count`-th by its
    maximum; group g has the columns g, g + groups, g + 2 groups, ...

    Returns:
        The rows, rising, and the columns.
    """
    members = closeness.reshape(len(closeness), -1, groups)
    maxima = members.max(axis=1)  # (rows, groups)
    least = np.partition(maxima, groups - count, axis=1)[:, groups - count] - margin
    owners, chosen = np.nonzero(maxima >= least[:, np.newaxis])
    pairs, places = np.nonzero(members[owners, :, chosen] >= least[owners, np.newaxis])
    return owners[pairs], places * groups + chosen[pairs]


def _squared_distances(
    queries: NDArray[np.float32],
    stored: NDArray[np.float32],
    query_rows: NDArray[np.int64],
    stored_rows: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Squared distances between pairs of vectors, (pairs,)."""
    squares = np.empty(len(query_rows))
    step = max(1, PAIR_VALUES // stored.shape[1])
    for start in range(0, len(squares), step):
        part = slice(start, start + step)
        differences = stored[stored_rows[part]].astype(np.float64) - queries[query_rows[part]]
        squares[part] = np.einsum("ij,ij->i", differences, differences)
    return squares
