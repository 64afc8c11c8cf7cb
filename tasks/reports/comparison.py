"""Comparison of a run with another one: what differs in its inputs and in its metrics."""

from collections.abc import Iterator
from typing import Any

from tasks.reports.metrics_table import METRICS, read_field
from tasks.runs.gate import measure_drift
from tasks.runs.manifest import Manifest


def list_changes(manifest: Manifest, other: Manifest) -> Iterator[list[str]]:
    """Metrics that differ in the digits shown: name, value, value before, difference."""
    for name in [name for name in manifest.metrics if name in other.metrics]:
        for metric in METRICS:
            now = read_field(manifest.metrics[name], metric.model_field)
            before = read_field(other.metrics[name], metric.model_field)
            if now is None or before is None:
                continue
            texts = format(now, metric.format), format(before, metric.format)
            if texts[0] != texts[1]:
                yield [f"{name}: {metric.name}", *texts, format_change(now - before, metric.format)]


def format_change(change: float, form: str) -> str:
    """A difference with its sign; of two shares, in percentage points."""
    if form.endswith("%"):
        return f"{100 * change:+{form[:-1]}f} points"
    return format(change, f"+{form}")


def list_differences(manifest: Manifest, other: Manifest) -> Iterator[str]:
    """Differences of images, models, parameters and versions, in sentences."""
    yield from _compare_images(manifest, other)
    for name in sorted(manifest.metrics.keys() - other.metrics.keys()):
        yield f"The {name} model is new."
    for name in sorted(other.metrics.keys() - manifest.metrics.keys()):
        yield f"The {name} model is no longer trained."
    now, before = (_flatten(run.parameters) for run in (manifest, other))
    changed = [name for name in before | now if now.get(name) != before.get(name)]
    for name in changed:
        yield f"Parameter {name}: {now.get(name)}, before {before.get(name)}."
    if not changed:
        yield "The parameters are equal."
    versions = other.versions.model_dump()
    for name, version in manifest.versions.model_dump().items():
        if version != versions[name]:
            yield f"Version of {name}: {version}, before {versions[name]}."


def _compare_images(manifest: Manifest, other: Manifest) -> Iterator[str]:
    if manifest.dataset.payload_sha256 == other.dataset.payload_sha256:
        yield "The images are equal."
        return
    yield "The images differ."
    drift = measure_drift(other, manifest.baselines.pixels.summary)
    if drift and drift.mean_shift is None:
        yield "They have another shape."
    elif drift:
        yield (
            f"Their mean moved by {drift.mean_shift:.3f} standard deviations; their spread is "
            f"{drift.spread_ratio:.3f} times that before."
        )


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by dotted name."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        nested = isinstance(value, dict)
        flat |= _flatten(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return flat
