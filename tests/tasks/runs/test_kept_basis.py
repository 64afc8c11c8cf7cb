import pytest

from tasks.evaluation.records import BasisMetrics
from tasks.runs.kept_basis import check_kept_basis
from tests.tasks.runs.test_gate import verdict


def kept(share: float) -> BasisMetrics:
    return BasisMetrics(own_nearest=share, mean_distance=1.0, probes=None)


@pytest.mark.parametrize(("share", "passed"), [(1.0, True), (0.98, True), (0.9799, False)])
def test_nearly_all_images_must_find_their_own_old_code(share: float, passed: bool) -> None:
    (check,) = check_kept_basis("deep", kept(share), least=0.98)
    assert check.passed is passed
    assert ("--new-basis" in check.text) is not passed


def test_a_model_that_defines_its_basis_is_not_checked() -> None:
    assert check_kept_basis("deep", None, least=0.98) == []


def test_a_run_that_claims_a_basis_it_does_not_keep_is_refused() -> None:
    for share, outcome in ((0.999, "published"), (0.9, "refused")):
        judged = verdict({"kept_basis": kept(share)})
        assert judged.outcome == outcome
    assert "90.00% of the test images" in judged.reason
