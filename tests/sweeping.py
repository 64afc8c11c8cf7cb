"""Sweeps that were never made, for tests that need no more than their records."""

from datetime import UTC, datetime

from tasks.core.versions import installed_versions
from tasks.evaluation.records import PcaScores
from tasks.parameters.sweep import SweepParameters
from tasks.sweeps.records import Sweep, SweepPoint, SweepRecord
from tests.conftest import BASELINES, EXAMPLE_DATASET, example_model

PCA = tuple(
    PcaScores(components=size, mse=mse, psnr=18.5, ssim=0.6, probes=None)
    for size, mse in ((8, 0.0264), (32, 0.0151))
)


def point(name: str, code_size: int, seed: int, loss: float, error: float) -> SweepPoint:
    """A model with these facts."""
    model = example_model(name, code_size)
    spec = model.spec.model_copy(update={"seed": seed})
    model = model.model_copy(update={"spec": spec, "validation_loss": loss})
    return SweepPoint(model=model, reconstruction_mse=error)


RECORD = SweepRecord(
    run="sweep-1",
    started=datetime(2026, 1, 1, tzinfo=UTC),
    parameters=SweepParameters().model_dump(mode="json"),
    dataset=EXAMPLE_DATASET,
    baselines=BASELINES.model_copy(update={"pca": PCA}),
    points=(
        point("shallow", 8, 0, loss=0.33, error=0.030),
        point("shallow", 8, 1, loss=0.32, error=0.031),
        point("shallow", 32, 0, loss=0.29, error=0.014),
    ),
)
SWEEP = Sweep(
    **dict(RECORD),
    finished=datetime(2026, 1, 2, tzinfo=UTC),
    versions=installed_versions(),
    files=(),
)
