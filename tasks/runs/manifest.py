"""The manifest of a run: its inputs, metrics and files, and whether it was published."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from pydantic.json_schema import GenerateJsonSchema

from tasks.codes.published import MANIFEST_FILE
from tasks.core.records import (
    CodesSha256,
    DatasetRecord,
    FigureRecord,
    FileRecord,
    Record,
    Sha256,
    Versions,
)
from tasks.core.storage import read_record
from tasks.evaluation.records import Baselines, Metrics
from tasks.models.store import ModelRecord

DERIVED_VERSION = 2
"""Of all that is made from models: codes, exports, figures, report. Raise it with every change of
them: what is published is then made anew from the same models, and not taken for unchanged."""
SHORT_NAME = 8
"""Characters of a run's name that are shown to people, as Git does with commits."""
VerdictOutcome = Literal["published", "refused", "quick look", "waiting"]
"""A run that waits for a person is not finished: no manifest in a run's final folder says so."""


class Check(Record):
    """One check of the quality gate."""

    name: str
    passed: bool
    found: float | None = None
    limit: float | None = None
    text: str


class BestLoss(Record):
    """The best published loss on the same test images of models with one name and its layers."""

    validation_loss: float
    run: str


class Approval(Record):
    """What a person was asked about a run that passed the gate, and what became of it."""

    question: Sha256 = Field(
        description="of the models' weights, their rivals and the published run: an answer holds "
        "for no other"
    )
    reason: str = Field(description="why a person was asked")
    until: datetime = Field(description="an answer was waited for until then")
    answer: Literal["publish", "refuse", "time-out"] | None = Field(
        None, description="null as long as the run waits"
    )
    name: str = Field("", description="of who decided, as they gave it")
    note: str = Field("", description="theirs")
    time: datetime | None = Field(None, description="when the run took note of the answer")


class Verdict(Record):
    """Whether the run passed the quality gate, and why."""

    outcome: VerdictOutcome
    reason: str
    checks: tuple[Check, ...] = ()
    rivals: dict[str, BestLoss] = Field(
        {},
        description="best published losses before this run, by model, code size and layers: "
        "`deep-32, 784-128-64-32-64-128-784`; in version 0.1 by model and code size",
    )
    approval: Approval | None = Field(None, description="null if no person was asked")

    @property
    def published(self) -> bool:
        """Whether the gate let the run be published."""
        return self.outcome == "published"

    @property
    def waits(self) -> bool:
        """Whether a person has to decide."""
        return self.outcome == "waiting"

    @property
    def passed(self) -> bool:
        """Whether no check failed, so that nobody had to publish the run anyway."""
        return self.published and all(check.passed for check in self.checks)


class Drift(Record):
    """How the training images differ from those of the previously published run."""

    rival: str = Field(description="the previously published run")
    mean_shift: float | None = Field(
        description="root mean square change of the cells' means, in standard deviations; null if "
        "the images have another shape"
    )
    spread_ratio: float | None = Field(
        description="mean standard deviation divided by the previous one; null as above"
    )

    def exceeds(self, limit: float) -> bool:
        """Whether mean or spread changed by more than `limit` standard deviations."""
        if self.mean_shift is None or self.spread_ratio is None:
            return True
        return self.mean_shift > limit or abs(self.spread_ratio - 1) > limit


class StepCost(Record):
    """What a step of a run took, in the attempt that completed the run."""

    step: str
    seconds: float
    processor_seconds: float = Field(description="of the run's process, all threads together")
    peak_bytes: int | None = Field(
        description="most resident memory of the process during the step, pages of files included; "
        "null where the system does not tell"
    )


class ResultRecord(Record):
    """What the records of runs and sweeps share."""

    schema_version: Literal[1] = 1
    run: str
    started: datetime
    parameters: dict[str, Any] = Field(
        description="as JSON; read without validation: those of an earlier version stay readable"
    )
    dataset: DatasetRecord
    baselines: Baselines = Field(description="with a PCA for each code size")


class FinishedRecord(ResultRecord):
    """What they share once they are complete."""

    finished: datetime
    versions: Versions
    files: tuple[FileRecord, ...] = Field(description="every other file of the folder")


class RunRecord(ResultRecord):
    """Inputs and results of a run, before it is judged."""

    models: tuple[ModelRecord, ...]
    metrics: dict[str, Metrics] = Field(description="by model name")
    figures: tuple[FigureRecord, ...] = Field((), description="in the order of the report")
    costs: tuple[StepCost, ...] = Field(
        (), description="of the steps before publication, in their order"
    )


class Manifest(FinishedRecord, RunRecord):
    """The record of a finished run. All paths are relative to its folder."""

    codes_sha256: CodesSha256 = Field(
        {},
        description="SHA-256 of the bytes of each model's codes, by model and split; empty in runs "
        "of version 0.1.0",
    )
    earlier_bases: tuple[Sha256, ...] = Field(
        (),
        description="bases of the models of the previously published run; empty if nothing was "
        "published before, or by version 0.1.0",
    )
    previous: str | None = Field(
        None,
        description="the run that was published before; null if there was none, and in manifests "
        "of earlier versions",
    )
    derived_version: int = Field(
        1, description="of the formats of all that is made from models; 1 in version 0.1.0"
    )
    drift: Drift | None = Field(description="null if nothing was published before")
    verdict: Verdict
    best_losses: dict[str, BestLoss] = Field(
        description="best published losses on these test images, this run included, by model, "
        "code size and layers; the next run is compared with them"
    )

    @property
    def title(self) -> str:
        """What people call the run; Prefect shows the same name."""
        subject = describe_training(self.dataset.name, self.models[0].spec.seed)
        return name_run(subject, self.started, self.run)


class Outcome(Record):
    """How a run ended."""

    manifest: Manifest
    unchanged: bool = Field(description="nothing to do; the manifest is that of the published run")

    @property
    def kind(self) -> Literal[VerdictOutcome, "unchanged"]:
        """In one or two words."""
        return "unchanged" if self.unchanged else self.manifest.verdict.outcome


def name_run(subject: str, time: datetime, run: str) -> str:
    """What people call a run: what it is about, its day (UTC), and the start of its id."""
    return f"{subject}-{time:%Y-%m-%d}-{short_name(run)}"


def describe_training(dataset: str, seed: int) -> str:
    """What a run is about, for its name."""
    return f"{dataset}-seed{seed}"


def short_name(run: str) -> str:
    """The start of a run's name, for log lines and reports."""
    return run[:SHORT_NAME]


def manifest_schema() -> str:
    """The JSON Schema of a manifest, as tracked in `artifacts/manifest.schema.json`."""
    schema = Manifest.model_json_schema(mode="serialization")
    return json.dumps({"$schema": GenerateJsonSchema.schema_dialect, **schema}, indent=2) + "\n"


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a run folder.

    Raises:
        StepError: it is missing or damaged.
    """
    return read_record(folder / MANIFEST_FILE, Manifest)
