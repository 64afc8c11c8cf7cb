"""A run beside another one: what was different from the start, and what came of it."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from tasks.reports.measures import MEASURES, format_change
from tasks.runs.drift import measure_drift
from tasks.runs.manifest import Manifest


class Change(NamedTuple):
    """One metric that differs, as it is written."""

    name: str
    now: str
    before: str
    difference: str


def list_changes(manifest: Manifest, rival: Manifest) -> Iterator[Change]:
    """Every metric that differs in the digits that are shown."""
    for name, found in manifest.metrics.items():
        before = rival.metrics.get(name)
        for measure in MEASURES:
            now = measure.of_model(found)
            then = measure.of_model(before) if before else None
            if now is None or then is None:
                continue
            shown, shown_before = format(now, measure.form), format(then, measure.form)
            if shown != shown_before:
                change = format_change(now - then, measure.form)
                yield Change(f"{name}: {measure.name}", shown, shown_before, change)


def list_differences(manifest: Manifest, rival: Manifest) -> Iterator[str]:
    """What was different from the start, in sentences."""
    same = manifest.dataset.payload_sha256 == rival.dataset.payload_sha256
    yield "The images are the same." if same else "The images are others."
    drift = measure_drift(rival, manifest.baselines.pixels.summary)
    if drift and drift.mean_shift is None:
        yield "They have another shape."
    elif drift and not same:
        yield (
            f"Their mean moved by {drift.mean_shift:.3f} standard deviations; their spread is "
            f"{drift.spread_ratio:.3f} times what it was."
        )
    for name in sorted(manifest.metrics.keys() - rival.metrics.keys()):
        yield f"The {name} model is new."
    for name in sorted(rival.metrics.keys() - manifest.metrics.keys()):
        yield f"The {name} model is no longer trained."
    before, now = (_flatten(run.parameters.model_dump()) for run in (rival, manifest))
    changed = [name for name in now if now[name] != before.get(name)]
    for name in changed:
        yield f"Parameter {name}: {now[name]}, before {before.get(name)}."
    if not changed:
        yield "The parameters are the same."
    versions = rival.versions.model_dump()
    for name, version in manifest.versions.model_dump().items():
        if version != versions[name]:
            yield f"Version of {name}: {version}, before {versions[name]}."


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        nested = _flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else None
        flat |= nested if nested is not None else {f"{prefix}{name}": value}
    return flat
