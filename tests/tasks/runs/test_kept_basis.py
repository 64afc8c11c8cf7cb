import re

import pytest

from tasks.evaluation.records import BasisMetrics
from tasks.models.store import ModelRecord
from tasks.runs.kept_basis import answer_bases, check_kept_basis, list_bases
from tasks.runs.manifest import Manifest, Verdict
from tests.conftest import METRICS, anchor_to, example_model
from tests.tasks.reports.manifests import example_manifest
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


BASIS = "c" * 64
"""Of the example model."""
KEPT = METRICS.model_copy(update={"kept_basis": kept(0.995)})


def anchored(name: str = "shallow") -> ModelRecord:
    """A model that keeps the basis of another one."""
    model = example_model(name)
    spec = model.spec.anchored_to(anchor_to(example_model()))
    return model.model_copy(update={"spec": spec, "encoder_weights_sha256": "9" * 64})


def lines(manifest: Manifest, *stored: str) -> list[str]:
    return [f"{answer}: {'; '.join(models)}" for answer, models in answer_bases(manifest, stored)]


def test_stored_codes_stay_valid_if_their_basis_was_published_before() -> None:
    free = example_manifest()
    assert lines(free) == ["First basis, which later runs keep: shallow, basis cccccccccccc"]
    new = "New basis, so replace codes that you stored of earlier runs"
    assert lines(free, "0" * 64) == [f"{new}: shallow, basis cccccccccccc"]
    unchanged = ["Stored codes of this basis stay valid: shallow, basis cccccccccccc"]
    assert lines(free, "0" * 64, BASIS) == unchanged
    share = "(99.50% of the test images are nearest to their own old code)"
    assert lines(example_manifest(KEPT, models=(anchored(),)), BASIS) == [f"{unchanged[0]} {share}"]


def test_a_basis_that_is_not_kept_is_said() -> None:
    (check,) = check_kept_basis("shallow", kept(0.5), 0.98)
    refused = Verdict(outcome="refused", reason="", checks=(check,))
    lost = METRICS.model_copy(update={"kept_basis": kept(0.5)})
    manifest = example_manifest(lost, models=(anchored(),), verdict=refused)
    (line,) = lines(manifest, BASIS)
    assert line == (
        "Basis not kept: do not use stored codes with these: shallow, basis cccccccccccc "
        "(50.00% of the test images are nearest to their own old code)"
    )


def test_a_model_that_takes_its_basis_from_its_own_run_has_the_first_one() -> None:
    """Nobody can have stored codes of it: the deep model of a first run lends it to others."""
    manifest = example_manifest(models=(example_model("deep"), anchored("wide"))).model_copy(
        update={"metrics": {"deep": METRICS, "wide": KEPT}}
    )
    (line,) = lines(manifest)
    assert line.startswith(
        "First basis, which later runs keep: deep, basis cccccccccccc; wide, basis cccccccccccc ("
    )


def test_models_with_one_answer_stand_together() -> None:
    own = example_model("mine").model_copy(update={"basis": "5" * 64})
    metrics = {"shallow": KEPT, "deep": KEPT, "mine": METRICS}
    manifest = example_manifest(models=(anchored(), anchored("deep"), own)).model_copy(
        update={"metrics": metrics}
    )
    stay, new = lines(manifest, BASIS)
    assert re.findall(r"\w+, basis \w+", stay) == [
        "shallow, basis cccccccccccc",
        "deep, basis cccccccccccc",
    ]
    assert new == (
        "New basis, so replace codes that you stored of earlier runs: mine, basis 555555555555"
    )
    assert list_bases(manifest) == ("5" * 64, BASIS)


def test_a_run_of_an_earlier_version_says_nothing_about_its_basis() -> None:
    earlier = example_model().model_copy(update={"basis": None})
    manifest = example_manifest(models=(earlier,))
    assert lines(manifest, BASIS) == []
    assert list_bases(manifest) == ()
