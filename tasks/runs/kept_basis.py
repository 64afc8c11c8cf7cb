"""Whether stored codes stay valid: what the gate requires of an anchored model's codes."""

from tasks.evaluation.records import BasisMetrics
from tasks.runs.manifest import Check


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
