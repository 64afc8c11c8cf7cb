"""Which coordinate system the codes of each model of a run keep: that of which anchor.

Chosen at the first attempt at a run and stored, so that a retry chooses the same even if another
run was published meanwhile.
"""

import logging
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from tasks.codes.published import run_folder
from tasks.codes.scales import unit_ratio
from tasks.core.errors import StepError
from tasks.core.locks import lock
from tasks.core.records import DatasetRecord, DeviceKind, Record
from tasks.core.storage import copy_file, load_or_compute
from tasks.models.architectures import DEEP, SHALLOW
from tasks.models.fingerprint import fingerprint_of
from tasks.models.obtain import Report, obtain_model
from tasks.models.spec import STRENGTH, Anchor, TrainingSpec
from tasks.models.store import ModelRecord, basis_file, stored_model
from tasks.parameters.retrain import Parameters
from tasks.runs.building import PUBLICATION_LOCK, anchors_folder
from tasks.runs.lookup import find_published
from tasks.runs.manifest import Manifest, short_name

logger = logging.getLogger(__name__)

RECORD_FILE = "anchors-{images}.json"
"""One for each dataset: a retry whose images changed chooses again."""


class Anchors(Record):
    """What a run knows about anchors before it trains."""

    published: dict[str, Anchor] = Field(
        {}, description="by the name of the model that keeps the published basis"
    )
    shared: bool = Field(
        description="whether a model without a published basis takes that of the run's deep model"
    )


class TrainingContext(NamedTuple):
    """What is the same for all trainings of a run."""

    run: str
    dataset: DatasetRecord
    device: DeviceKind
    anchors: Anchors

    def fingerprint_of(self, spec: TrainingSpec) -> str:
        """The fingerprint of a model of the run."""
        return fingerprint_of(self.dataset, spec, self.device)


class PlannedTraining(NamedTuple):
    """A training with its anchor, if it has one."""

    spec: TrainingSpec
    anchor: Anchor | None
    """The one whose basis the model will have, also if it is the very model that defined it."""
    anchor_file: Path | None
    """The anchor's encoder; None if the training needs none."""


def obtain_anchors(
    run: str, parameters: Parameters, dataset: DatasetRecord, specs: list[TrainingSpec], root: Path
) -> Anchors:
    """Choose the anchors and store their encoders, unless an earlier attempt at the run did.

    Raises:
        StepError: an encoder of the published run is missing.
    """
    folder = anchors_folder(run, root)

    def choose() -> Anchors:
        with lock(PUBLICATION_LOCK, root):  # until the encoders are copied, no run is deleted
            previous = _read_published(dataset, root)
            return _store_anchors(previous, parameters, dataset, specs, folder, root)

    name = RECORD_FILE.format(images=dataset.payload_sha256[:12])
    return load_or_compute(folder / name, Anchors, choose)


def _read_published(dataset: DatasetRecord, root: Path) -> Manifest | None:
    try:
        return find_published(dataset.name, root)
    except StepError as error:  # the gate will refuse to replace it
        logger.warning("The published run gives no basis: %s", error)
        return None


def _store_anchors(
    previous: Manifest | None,
    parameters: Parameters,
    dataset: DatasetRecord,
    specs: list[TrainingSpec],
    folder: Path,
    root: Path,
) -> Anchors:
    shared = parameters.training.recipe != "lab"
    if previous is None or parameters.run.new_basis or not shared:
        return Anchors(shared=shared)
    chosen = {}
    ratio = _unit_ratio(previous, dataset)
    for name, source in find_sources(previous, dataset, specs).items():
        anchor = anchor_of(source, previous.dataset.scale)
        chosen[name] = anchor = anchor.model_copy(update={"scale": anchor.scale * ratio})
        file = run_folder(previous.run, root) / "models" / source.name / basis_file(source)
        if not file.exists():
            raise StepError(
                f"{file} is missing, which defined the basis of the {name} codes: restore it, or "
                "start a new basis with --new-basis"
            )
        copy_file(file, _anchor_file(anchor, folder))
        logger.info(
            "The %s model keeps the basis %s of run %s",
            name,
            anchor.basis[:12],
            short_name(previous.run),
        )
    return Anchors(published=chosen, shared=shared)


def find_sources(
    previous: Manifest, dataset: DatasetRecord, specs: list[TrainingSpec]
) -> dict[str, ModelRecord]:
    """The published model whose basis each model keeps, by the name of the latter.

    That is the model of the same name, or else the deep one, but not for the shallow model; with
    the same code size. A run with the lab's recipe, of an earlier version or with images of another
    shape or in a unit that cannot be told gives no basis.
    """
    training = previous.parameters.get("training", {})
    if training.get("recipe") == "lab" or previous.dataset.image_shape != dataset.image_shape:
        return {}
    if not _unit_ratio(previous, dataset):
        logger.warning(
            "The published run gives no basis: it has images of %s up to %g, this run of %s up to "
            "%g",
            *(previous.dataset.dtype, previous.dataset.scale, dataset.dtype, dataset.scale),
        )
        return {}
    published = {model.name: model for model in previous.models if model.basis}
    sources = {}
    for architecture in (spec.architecture for spec in specs):
        names = dict.fromkeys((architecture.name, *_lenders(architecture.name)))
        for name in names:
            model = published.get(name)
            if model and model.spec.architecture.code_size == architecture.code_size:
                sources[architecture.name] = model
                break
    return sources


def _unit_ratio(previous: Manifest, dataset: DatasetRecord) -> float:
    """How many units of the images make one of those of the published run; 0 if unknown."""
    earlier = previous.dataset
    return unit_ratio(dataset.dtype, dataset.scale, earlier.dtype, earlier.scale) or 0


def _lenders(name: str) -> tuple[str, ...]:
    """Other models whose basis a model takes if it has none."""
    return () if name == SHALLOW.name else (DEEP.name,)


def anchor_of(model: ModelRecord, scale: float) -> Anchor:
    """The anchor of models that keep the basis of this one: always the basis's first encoder.

    Args:
        scale: of the images that the model was trained on.
    """
    if model.spec.anchor:
        return model.spec.anchor.model_copy(update={"strength": STRENGTH})
    return Anchor(
        basis=model.encoder_weights_sha256,
        fingerprint=model.fingerprint,
        scale=scale,
        strength=STRENGTH,
    )


def plan_training(
    context: TrainingContext, spec: TrainingSpec, earlier: list[ModelRecord], root: Path
) -> PlannedTraining:
    """Add the anchor to a training.

    A model that would be anchored to itself is that model: the training stays as it is.

    Args:
        spec: without an anchor.
        earlier: the models of the run that are trained already.
    """
    anchor, file = _find_anchor(context, spec, earlier, root)
    if anchor is None:
        return PlannedTraining(spec, None, None)
    if context.fingerprint_of(spec) == anchor.fingerprint:
        stored = stored_model(root / "models" / anchor.fingerprint)
        # Another processor may have trained it to other bits.
        if stored is None or stored.encoder_weights_sha256 == anchor.basis:
            return PlannedTraining(spec, anchor, None)
    return PlannedTraining(spec.anchored_to(anchor), anchor, file)


def _find_anchor(
    context: TrainingContext, spec: TrainingSpec, earlier: list[ModelRecord], root: Path
) -> tuple[Anchor | None, Path | None]:
    """The anchor of a model with the file of its encoder; the published one comes first."""
    architecture, anchors = spec.architecture, context.anchors
    if anchor := anchors.published.get(architecture.name):
        return anchor, _anchor_file(anchor, anchors_folder(context.run, root))
    for model in earlier if anchors.shared else ():
        same_size = model.spec.architecture.code_size == architecture.code_size
        if model.name in _lenders(architecture.name) and same_size:
            return anchor_of(model, context.dataset.scale), root / model.folder / basis_file(model)
    return None, None


def _anchor_file(anchor: Anchor, folder: Path) -> Path:
    return folder / f"{anchor.basis}.keras"


def obtain_model_in_basis(
    context: TrainingContext,
    spec: TrainingSpec,
    earlier: list[ModelRecord],
    root: Path,
    report: Report,
    retrain: bool,
) -> ModelRecord:
    """Obtain a model in the basis that the run keeps for it, if it keeps one.

    Args:
        spec, earlier: see `plan_training`.
        report, retrain: see `obtain_model`.
    """
    while True:
        planned, anchor, file = plan_training(context, spec, earlier, root)
        model = obtain_model(context.dataset, planned, context.device, root, report, retrain, file)
        if not anchor or model.spec.anchor or model.encoder_weights_sha256 == anchor.basis:
            return model
        logger.warning(
            "The %s model defined the published basis, but another processor trained it to other "
            "weights: it is trained once more, anchored",
            model.name,
        )


def plan_fingerprints(
    context: TrainingContext, specs: list[TrainingSpec], root: Path
) -> list[str] | None:
    """The fingerprints of the models of a run; None if one of them must be trained."""
    models: list[ModelRecord] = []
    for spec in specs:
        planned = plan_training(context, spec, models, root).spec
        model = stored_model(root / "models" / context.fingerprint_of(planned))
        if model is None:
            return None
        models.append(model)
    return [model.fingerprint for model in models]
