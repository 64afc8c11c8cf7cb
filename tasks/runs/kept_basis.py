"""Whether stored codes stay valid: what the gate requires of an anchored model, and the answer."""

from collections.abc import Collection
from typing import NamedTuple

from tasks.codes.provenance import short_basis
from tasks.core.records import Sha256
from tasks.evaluation.records import BasisMetrics
from tasks.models.store import ModelRecord
from tasks.runs.manifest import Check, Manifest


class BasisAnswer(NamedTuple):
    """What holds for codes that others stored of some models."""

    answer: str
    models: list[str]
    """For each of these models its name, its basis and how well it keeps it."""


def basis_check_name(model: str) -> str:
    """The name of a model's check."""
    return f"{model}: basis is kept"


def check_kept_basis(name: str, kept: BasisMetrics | None, least: float) -> list[Check]:
    """The check of an anchored model; none for one that defines its own basis.

    Args:
        kept: None for a model that defines its own basis.
        least: share of the test images whose new code must be nearest to their own old one.
    """
    if kept is None:
        return []
    passed = kept.own_nearest >= least
    relation = "at least" if passed else "less than"
    text = (
        f"The new {name} code of {kept.own_nearest:.2%} of the test images is nearest to their own "
        f"old code, {relation} the limit {least:.2%}"
    )
    if not passed:
        text += ": stored codes would not be comparable, start a new basis with --new-basis"
    return [
        Check(
            name=basis_check_name(name),
            passed=passed,
            found=kept.own_nearest,
            limit=least,
            text=text,
        )
    ]


def list_bases(manifest: Manifest) -> tuple[Sha256, ...]:
    """The bases of a run's models, sorted; a model of version 0.1.0 has none."""
    return tuple(sorted({model.basis for model in manifest.models if model.basis}))


def answer_bases(manifest: Manifest, stored: Collection[Sha256]) -> list[BasisAnswer]:
    """Whether codes that others stored can be used with a run's, models with one answer together.

    Args:
        stored: bases that codes were published of before.
    """
    answers: dict[str, list[str]] = {}
    for model in manifest.models:
        if model.basis is None:
            continue
        text = f"{model.name}, basis {short_basis(model.basis)}"
        if kept := manifest.metrics[model.name].kept_basis:
            text += (
                f" ({kept.own_nearest:.2%} of the test images are nearest to their own old code)"
            )
        answers.setdefault(_answer(model, manifest.verdict.checks, stored), []).append(text)
    return [BasisAnswer(*entry) for entry in answers.items()]


def _answer(model: ModelRecord, checks: Collection[Check], stored: Collection[Sha256]) -> str:
    name = basis_check_name(model.name)
    if not all(check.passed for check in checks if check.name == name):
        return "Basis not kept: do not use stored codes with these"
    if model.basis in stored:
        return "Stored codes of this basis stay valid"
    if not stored:
        return "First basis, which later runs keep"
    return "New basis, so replace codes that you stored of earlier runs"
