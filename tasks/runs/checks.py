"""The checks that each model of a run must pass: what its codes are worth, its error, its loss."""

import math
from typing import Literal, NamedTuple

from tasks.core.records import DatasetRecord
from tasks.evaluation.probes import PROBED_IMAGES, probed_rows
from tasks.evaluation.records import Metrics, Probes
from tasks.models.spec import choose_recipe
from tasks.models.store import ModelRecord
from tasks.parameters.retrain import GateParameters
from tasks.runs.kept_basis import check_kept_basis
from tasks.runs.manifest import BestLoss, Check, short_name

EXACT_MSE = 1e-8
"""A PCA with a smaller error is exact up to rounding; no model is compared with it."""


class Candidate(NamedTuple):
    """A model to be judged, and what it is compared with."""

    model: ModelRecord
    metrics: Metrics
    dataset: DatasetRecord
    pca_probes: Probes | None
    """Accuracies in a PCA with as many components as the code has units; none without labels."""
    rival: BestLoss | None
    """The best published loss of a comparable model."""
    no_rival: str
    """Why there is none; empty if there is one."""
    gate: GateParameters

    @property
    def pca(self) -> str:
        """The name of that PCA."""
        return f"PCA-{self.metrics.code_size}"

    @property
    def exact(self) -> str:
        """Why a model is not compared with a PCA whose error is zero."""
        return f"{self.pca} reconstructs these images exactly"

    def name(self, check: str) -> str:
        """The name of a check."""
        return f"{self.model.name}: {check}"

    def describe(self, quantity: str) -> str:
        """A quantity of this model, at the start of a sentence."""
        return f"{self.model.name.capitalize()} {quantity}"

    def advise(self, otherwise: str) -> str:
        """What a person can do about a failed check."""
        spec = self.model.spec
        lab = choose_recipe("lab", spec.architecture, spec.recipe.epochs, spec.recipe.batch_size)
        first = "train for more epochs"
        if spec.recipe == lab:
            first = "train with --recipe default, which gives better models"
        if spec.anchor:  # the basis was chosen on other images, or for another architecture
            first += ", start a new basis with --new-basis"
        return f"{first}, or {otherwise}"


LOSS, DIMENSION, ACCURACY = "#.4g", ".2f", ".2%"
"""How numbers are written."""


class Limit(NamedTuple):
    """A number that must not be above, or below, another one."""

    wrong: Literal["above", "below"]
    limit: float
    form: str
    """How both are written."""
    basis: str
    """What the limit was computed from."""
    missed: str
    """Where a number stands that misses the limit, in the unit of the tolerance."""

    def check(self, found: float, name: str, what: str, advice: str) -> Check:
        """Check a number; if it is infinite, it is left out, as JSON has none."""
        passed = found <= self.limit if self.wrong == "above" else found >= self.limit
        start = f"{what} {found:{self.form}} is"
        within = f"{start} not {self.wrong} {self.limit:{self.form}}, the limit ({self.basis})"
        return Check(
            name=name,
            passed=passed,
            found=found if math.isfinite(found) else None,
            limit=self.limit,
            text=within if passed else f"{start} {self.missed}: {advice}",
        )


def _skip(name: str, what: str, why: str) -> Check:
    return Check(name=name, passed=True, text=f"{what} not compared: {why}")


def check_model(candidate: Candidate) -> list[Check]:
    """All checks of a model, in the order of the report."""
    return [
        _check_finite(candidate),
        _check_live_units(candidate),
        _check_dimension(candidate),
        _check_neighbors(candidate),
        _check_error(candidate),
        _check_loss(candidate),
        *check_kept_basis(
            candidate.model.name, candidate.metrics.kept_basis, candidate.gate.own_nearest
        ),
    ]


def _check_finite(candidate: Candidate) -> Check:
    loss, mse = candidate.metrics.validation_loss, candidate.metrics.reconstruction_mse
    passed = math.isfinite(loss) and math.isfinite(mse)
    text = (
        f"{candidate.describe('loss')} is {loss:.4f}, mean squared error {mse:.5f}; both must be "
        "finite"
    )
    return Check(
        name=candidate.name("loss and error are finite numbers"),
        passed=passed,
        text=text if passed else f"{text}: train with another seed",
    )


def _check_live_units(candidate: Candidate) -> Check:
    live, code_size = candidate.metrics.live_units, candidate.metrics.code_size
    # Rounded first, because 0.55 * 20 is 11.000000000000002.
    least = math.ceil(round(candidate.gate.live_share * code_size, 9))
    text = (
        f"{live} of {code_size} {candidate.model.name} code units are live, at least {least} "
        "required"
    )
    if live < least:
        advice = candidate.advise("choose a smaller --code-size or --live-share")
        text += f", {least - live} too few: {advice}"
    return Check(
        name=candidate.name("live code units"),
        passed=live >= least,
        found=live,
        limit=least,
        text=text,
    )


def _check_dimension(candidate: Candidate) -> Check:
    """Do the codes spread in enough directions?"""
    name, metrics = candidate.name("effective dimension"), candidate.metrics
    if metrics.pca_mse < EXACT_MSE:  # the images may have one direction
        return _skip(name, candidate.describe("effective dimension"), candidate.exact)
    images, share = candidate.dataset.rows["test"], candidate.gate.dimension_share
    directions = min(metrics.code_size, images - 1)
    whole = f"{metrics.code_size} units"
    if directions < metrics.code_size:
        whole = f"the {directions} directions that {images} images can have"
    basis = f"{share:g} of {whole}"
    part = 100 * metrics.effective_dimension / max(directions, 1)
    missed = f"{part:.3g} % of {whole}, {100 * share:g} % required"
    return Limit("below", round(share * directions, 9), DIMENSION, basis, missed).check(
        metrics.effective_dimension,
        name,
        candidate.describe("effective dimension"),
        candidate.advise("choose a smaller --code-size or --dimension-share"),
    )


def neighbor_tolerance(gate: GateParameters, dataset: DatasetRecord) -> float:
    """How far below PCA's the accuracy of five neighbours may be, with this many test images.

    The sampling error of an accuracy goes with one over the root of the number of images.
    """
    images = len(probed_rows(dataset, "test"))
    return gate.neighbor_tolerance * math.sqrt(PROBED_IMAGES["test"] / images)


def _check_neighbors(candidate: Candidate) -> Check:
    """Do near codes belong to one class as often as near PCA codes do?"""
    name = candidate.name("five nearest neighbours compared with PCA")
    codes, pca = candidate.metrics.probes, candidate.pca_probes
    if codes is None or pca is None:
        return _skip(name, candidate.describe("neighbours"), "the images have no labels")
    tolerance = neighbor_tolerance(candidate.gate, candidate.dataset)
    basis = f"{candidate.pca}: {pca.nearest_5:.2%}, tolerance {100 * tolerance:.2g} points"
    missed = (
        f"{100 * (pca.nearest_5 - codes.nearest_5):.2f} points below {candidate.pca}'s "
        f"{pca.nearest_5:.2%}, {100 * tolerance:.2g} allowed"
    )
    least = max(0.0, round(pca.nearest_5 - tolerance, 9))
    return Limit("below", least, ACCURACY, basis, missed).check(
        codes.nearest_5,
        name,
        candidate.describe("accuracy of five nearest neighbours"),
        candidate.advise("raise --neighbor-tolerance"),
    )


def _check_error(candidate: Candidate) -> Check:
    name, metrics = candidate.name("error compared with PCA"), candidate.metrics
    if metrics.pca_mse < EXACT_MSE:
        return _skip(name, candidate.describe("error"), candidate.exact)
    ratio = candidate.gate.pca_ratio
    basis = f"{candidate.pca}: {metrics.pca_mse:#.4g}, ratio {ratio:g}"
    times = metrics.reconstruction_mse / metrics.pca_mse
    missed = f"{times:#.4g} times {candidate.pca}'s {metrics.pca_mse:#.4g}, {ratio:g} allowed"
    return Limit("above", ratio * metrics.pca_mse, LOSS, basis, missed).check(
        metrics.reconstruction_mse,
        name,
        candidate.describe("mean squared error"),
        candidate.advise("raise --pca-ratio"),
    )


def loss_check_name(model: str) -> str:
    """The name of the check of a model's loss."""
    return f"{model}: loss compared with the best published"


def _check_loss(candidate: Candidate) -> Check:
    name, rival = loss_check_name(candidate.model.name), candidate.rival
    if rival is None:
        return Check(name=name, passed=True, text=candidate.no_rival)
    floor, tolerance = candidate.metrics.entropy_floor, candidate.gate.tolerance
    basis = (
        f"best published: {rival.validation_loss:#.4g} in run {short_name(rival.run)}, tolerance "
        f"{100 * tolerance:g} %"
    )
    excess = rival.validation_loss - floor
    missed = f"{_compare_loss(candidate, rival)}, {100 * tolerance:g} % allowed"
    return Limit("above", floor + excess * (1 + tolerance), LOSS, basis, missed).check(
        candidate.metrics.validation_loss,
        name,
        candidate.describe("loss"),
        candidate.advise("raise --tolerance"),
    )


def _excess_ratio(candidate: Candidate, rival: BestLoss) -> float:
    """By which fraction the loss above the entropy floor is worse than the rival's."""
    worse = candidate.metrics.validation_loss - rival.validation_loss
    excess = rival.validation_loss - candidate.metrics.entropy_floor
    return worse / excess if excess else math.inf if worse > 0 else 0.0


def _compare_loss(candidate: Candidate, rival: BestLoss) -> str:
    return (
        f"{100 * _excess_ratio(candidate, rival):#.4g} % worse than the best published, "
        f"{rival.validation_loss:#.4g} in run {short_name(rival.run)} (above the floor "
        f"{candidate.metrics.entropy_floor:#.4g})"
    )


def find_doubt(candidate: Candidate, tolerance: float) -> str:
    """Why a person should look at a model: its loss is worse than its rival's; empty if not.

    Args:
        tolerance: the fraction by which the loss above the floor may be worse without a person.
    """
    rival = candidate.rival
    if rival is None or _excess_ratio(candidate, rival) <= tolerance:
        return ""
    return (
        f"{candidate.describe('loss')} {candidate.metrics.validation_loss:#.4g} is "
        f"{_compare_loss(candidate, rival)}, up to {100 * tolerance:g} % is published unasked"
    )
