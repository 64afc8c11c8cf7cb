from datetime import UTC, datetime
from typing import Any

import pytest

from tasks.core.records import DatasetRecord, Versions
from tasks.models.store import ModelRecord
from tasks.runs.manifest import BestLoss, Check, Manifest, Verdict
from tasks.runs.rivals import (
    ALL_RETIRED,
    NO_RUN,
    find_best_losses,
    find_rivals,
    list_losses,
    loss_key,
)
from tests.conftest import BASELINES, EXAMPLE_DATASET, METRICS, example_model

DEEP = example_model("deep")
KEY = "deep-32, 784-32-784"
VERSIONS = Versions(python="3", tensorflow="2", keras="3", hdf5="1", project="0")


def published(
    run: str,
    loss: float,
    model: ModelRecord = DEEP,
    dataset: DatasetRecord = EXAMPLE_DATASET,
    outcome: str = "published",
    **carried: BestLoss,
) -> Manifest:
    """A run of one model that was published."""
    manifest = Manifest(
        run=run,
        started=datetime.now(UTC),
        finished=datetime.now(UTC),
        parameters={},
        dataset=dataset,
        baselines=BASELINES,
        drift=None,
        models=(model,),
        metrics={model.name: METRICS.model_copy(update={"validation_loss": loss})},
        verdict=Verdict.model_validate({"outcome": outcome, "reason": ""}),
        best_losses={},
        versions=VERSIONS,
        files=(),
    )
    own = list_losses(manifest) if outcome == "published" else {}
    return manifest.model_copy(update={"best_losses": own | carried})


def changed(**changes: Any) -> DatasetRecord:
    return EXAMPLE_DATASET.model_copy(update=changes)


OTHER_IMAGES = changed(payloads={"test_images": "u" * 64})
OTHER_LAYERS = DEEP.model_copy(update={"layers": "784-64-32-64-784"})


def test_the_best_ever_published_counts_not_the_last() -> None:
    runs = [published("good", 0.27), published("later", 0.275)]
    rivals = find_rivals(EXAMPLE_DATASET, [DEEP], runs)
    assert rivals.best == {KEY: BestLoss(validation_loss=0.27, run="good")}
    assert rivals.reasons == {}
    later = runs[1].model_copy(update={"best_losses": rivals.best})
    assert find_best_losses(EXAMPLE_DATASET, [later])[KEY].run == "good", "although it is deleted"


@pytest.mark.parametrize(
    ("run", "differences"),
    [
        (published("before", 0.26, dataset=OTHER_IMAGES), "other test images"),
        (
            published("before", 0.26, dataset=changed(scale=65535.0)),
            "pixels divided by 65535 instead of 255",
        ),
        (
            published("before", 0.26, model=example_model("deep", 64)),
            "64 code units instead of 32",
        ),
        (
            published("before", 0.26, model=OTHER_LAYERS),
            "the layers 784-64-32-64-784 instead of 784-32-784",
        ),
        (
            published("before", 0.26, model=OTHER_LAYERS, dataset=OTHER_IMAGES),
            "other test images, the layers 784-64-32-64-784 instead of 784-32-784",
        ),
    ],
)
def test_what_cannot_be_compared_is_not_and_the_difference_is_named(
    run: Manifest, differences: str
) -> None:
    rivals = find_rivals(EXAMPLE_DATASET, [DEEP], [run])
    assert KEY not in rivals.best
    assert rivals.reasons == {
        "deep": "Deep loss not compared: the latest published deep model, of run before, has "
        + differences
    }


def test_a_model_of_another_name_is_no_rival() -> None:
    runs = [published("before", 0.26, model=example_model("mine"))]
    assert find_rivals(EXAMPLE_DATASET, [DEEP], runs).reasons == {
        "deep": "Deep loss not compared: no deep model was published before"
    }


def test_an_earlier_model_with_the_same_layers_is_compared_again() -> None:
    runs = [published("first", 0.27), published("second", 0.26, model=OTHER_LAYERS)]
    assert find_rivals(EXAMPLE_DATASET, [DEEP], runs).best[KEY].run == "first"


def test_nothing_was_published_before() -> None:
    assert find_rivals(EXAMPLE_DATASET, [DEEP], []).reasons == {"deep": NO_RUN}


def test_what_a_person_published_against_the_gate_is_no_rival() -> None:
    runs = [published("before", 0.26, outcome="quick look")]
    rivals = find_rivals(EXAMPLE_DATASET, [DEEP], runs)
    assert rivals.best == {}
    assert "no deep model was published" in rivals.reasons["deep"]


def test_what_was_published_although_a_check_failed_is_no_rival() -> None:
    """Its loss may be low for the very reason that it should not have been published."""
    failed = Check(name="x", passed=False, text="")
    run = published("before", 0.2).model_copy(update={"best_losses": {}})
    forced = run.verdict.model_copy(update={"checks": (failed,)})
    rivals = find_rivals(EXAMPLE_DATASET, [DEEP], [run.model_copy(update={"verdict": forced})])
    assert rivals.best == {}
    assert "no deep model was published" in rivals.reasons["deep"]


def test_a_retired_run_is_no_rival_and_the_next_best_takes_its_place() -> None:
    runs = [published("lucky", 0.2), published("usual", 0.27)]
    carried = runs[1].model_copy(update={"best_losses": runs[0].best_losses})
    assert find_best_losses(EXAMPLE_DATASET, [runs[0], carried])[KEY].run == "lucky"
    rivals = find_rivals(EXAMPLE_DATASET, [DEEP], [runs[0], carried], retired=["lucky"])
    assert rivals.best[KEY].run == "usual"
    alone = find_rivals(EXAMPLE_DATASET, [DEEP], runs[:1], retired=["lucky"])
    assert alone.best == {}
    assert alone.reasons == {"deep": ALL_RETIRED}


def test_best_losses_of_version_0_1_count_if_their_layers_are_known() -> None:
    old = {"deep-32": BestLoss(validation_loss=0.25, run="old")}
    gone = {"deep-32": BestLoss(validation_loss=0.24, run="gone")}
    first = published("old", 0.25).model_copy(update={"best_losses": old})
    assert find_best_losses(EXAMPLE_DATASET, [first]) == {KEY: old["deep-32"]}
    second = published("then", 0.27).model_copy(update={"best_losses": gone})
    assert find_best_losses(EXAMPLE_DATASET, [first, second])[KEY].run == "old"
    assert loss_key(DEEP) == KEY
