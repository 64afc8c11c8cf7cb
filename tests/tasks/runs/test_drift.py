import logging
from datetime import UTC, datetime

import pytest

from tasks.core.records import Versions
from tasks.evaluation.records import DataSummary
from tasks.runs.drift import measure_drift, warn_of_drift
from tasks.runs.manifest import Drift, Manifest, Verdict
from tests.conftest import BASELINES, EXAMPLE_DATASET, SUMMARY

BEFORE = Manifest(
    run="before",
    started=datetime.now(UTC),
    finished=datetime.now(UTC),
    parameters={},
    dataset=EXAMPLE_DATASET,
    baselines=BASELINES,
    drift=None,
    models=(),
    metrics={},
    verdict=Verdict(outcome="published", reason=""),
    best_losses={},
    versions=Versions(python="3", tensorflow="2", keras="3", hdf5="1", project="0"),
    files=(),
)


def test_drift_is_measured_in_standard_deviations() -> None:
    same = measure_drift(BEFORE, SUMMARY)
    assert same is not None
    assert (same.mean_shift, same.spread_ratio) == (0.0, 1.0)
    assert not same.exceeds(0.1)
    moved = DataSummary(means=((0.26, 0.46),), spreads=((0.36, 0.36),))
    drift = measure_drift(BEFORE, moved)
    assert drift is not None
    assert (drift.mean_shift, drift.spread_ratio) == (0.2, 1.2)
    assert drift.exceeds(0.1)
    assert not drift.exceeds(0.25)


def test_images_of_another_shape_have_drifted() -> None:
    other = DataSummary(means=((0.2,),), spreads=((0.3,),))
    drift = measure_drift(BEFORE, other)
    assert drift is not None
    assert drift.exceeds(1000)
    assert measure_drift(None, other) is None


def test_the_drift_of_faint_images_is_a_number() -> None:
    flat = SUMMARY.model_copy(
        update={"spreads": tuple(tuple(0.0 for _ in row) for row in SUMMARY.spreads)}
    )
    pixels = BEFORE.baselines.pixels.model_copy(update={"summary": flat})
    baselines = BEFORE.baselines.model_copy(update={"pixels": pixels})
    drift = measure_drift(BEFORE.model_copy(update={"baselines": baselines}), flat)
    assert drift is not None
    assert (drift.mean_shift, drift.spread_ratio) == (0.0, 0.0)


def test_only_drift_above_the_limit_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    warn_of_drift(None, 0.1)
    warn_of_drift(Drift(rival="before", mean_shift=0.1, spread_ratio=1.0), 0.1)
    assert caplog.text == ""
    warn_of_drift(Drift(rival="before", mean_shift=0.2, spread_ratio=1.0), 0.1)
    assert "drifted since run before: mean by 0.200 standard deviations" in caplog.text
    warn_of_drift(Drift(rival="before", mean_shift=None, spread_ratio=None), 0.1)
    assert "another shape than those of run before" in caplog.text
