import numpy as np
import pytest

from tasks.core.errors import StepError
from tasks.images import rows
from tasks.images.rows import (
    ArrayRows,
    ChainedRows,
    LeftOut,
    describe_left_out,
    evaluation_rows,
    spaced_rows,
)

VALUES = np.arange(60).reshape(20, 3)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "BLOCK_BYTES", 4 * 3 * 8)


def test_an_array_is_read_in_bounded_blocks() -> None:
    assert [len(block) for block in ArrayRows("a", VALUES).blocks()] == [4] * 5


@pytest.mark.parametrize("chosen", [[0], [19], [3, 4, 12], list(range(20))])
def test_selected_rows_come_without_empty_blocks(chosen: list[int]) -> None:
    wanted = np.isin(np.arange(20), chosen)
    selected = ArrayRows("a", VALUES).select(wanted)
    assert np.array_equal(selected.read(), VALUES[chosen])
    assert all(len(block) for block in selected.blocks())
    assert selected.row_name(len(chosen) - 1) == f"row {chosen[-1]} of a"


def test_chained_arrays_are_one() -> None:
    chained = ChainedRows([ArrayRows("a", VALUES), ArrayRows("b", VALUES[:2].astype(np.int32))])
    assert np.array_equal(chained.read(), np.concatenate([VALUES, VALUES[:2]]))
    assert chained.dtype == np.int64
    assert [chained.row_name(row) for row in (19, 20)] == ["row 19 of a", "row 0 of b"]
    with pytest.raises(StepError, match="b holds rows of shape"):
        ChainedRows([ArrayRows("a", VALUES), ArrayRows("b", VALUES[:, :2])])


@pytest.mark.parametrize(("pixels", "found"), [(1, 2048), (784, 2048), (4096, 512), (2**22, 1)])
def test_evaluation_blocks_are_smaller_for_larger_images(pixels: int, found: int) -> None:
    assert evaluation_rows(pixels) == found


def test_spaced_rows_are_spread_over_all() -> None:
    assert spaced_rows(10, 20).tolist() == list(range(10))
    assert spaced_rows(10, 4).tolist() == [0, 2, 5, 7]


def test_what_was_left_out_is_named_by_reason_and_place() -> None:
    left_out = {
        LeftOut("no pictures", ".txt", "boot"): 3,
        LeftOut("no pictures", ".db"): 1,
        LeftOut("hidden", ".png", "coat"): 2,
    }
    assert (
        describe_left_out(left_out) == "no pictures: 3 .txt in boot, 1 .db; hidden: 2 .png in coat"
    )


def test_of_many_kinds_that_were_left_out_the_last_are_counted() -> None:
    left_out = {LeftOut("no pictures", f".{suffix}"): 2 for suffix in range(23)}
    assert describe_left_out(left_out).endswith(", 2 .19; and 6 others")
