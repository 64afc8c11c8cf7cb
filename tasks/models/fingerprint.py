"""What makes two trainings the same: the facts that determine the weights, and their SHA-256."""

import hashlib
import json
from typing import Any

import numpy as np

from tasks.core.records import DatasetRecord, DeviceKind, Sha256
from tasks.core.settings import read_settings
from tasks.core.versions import installed_versions
from tasks.models.spec import TrainingSpec

TRAINING_VERSION = 3
"""Raise it with every change that changes trained weights; a test on the fixture notices."""

Facts = dict[str, Any]
"""By name: text or a number, or a list of them."""


def training_facts(dataset: DatasetRecord, spec: TrainingSpec, device: DeviceKind) -> Facts:
    """Everything that determines the trained weights.

    Of the spec, fields that equal their default are left out: a field that is added with a default
    then changes no fingerprint. This is why a default must never change.
    """
    chosen = spec.model_dump(mode="json", exclude_defaults=True)
    chosen["architecture"]["kind"] = spec.architecture.kind
    versions = installed_versions()
    return {
        "images": dataset.payload_sha256,
        **_flatten(chosen),
        "device": device,
        "xla_flags": read_settings().xla_flags,
        "training_version": TRAINING_VERSION,
        "tensorflow": versions.tensorflow,
        "keras": versions.keras,
        "numpy": np.__version__,
    }


def _flatten(values: Facts, prefix: str = "") -> Facts:
    """Nested values under one name each, as `recipe.epochs`."""
    flat: Facts = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def digest_of(facts: Facts) -> Sha256:
    """The fingerprint of a training with these facts."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def fingerprint_of(dataset: DatasetRecord, spec: TrainingSpec, device: DeviceKind) -> Sha256:
    """SHA-256 of everything that determines the trained weights."""
    return digest_of(training_facts(dataset, spec, device))


def describe_changes(before: Facts, now: Facts) -> list[str]:
    """The facts that differ, as `recipe.epochs 20, now 40`, sorted by name."""
    names = sorted(before.keys() | now.keys())
    shown = {name: [_show(facts, name) for facts in (before, now)] for name in names}
    return [f"{name} {old}, now {new}" for name, (old, new) in shown.items() if old != new]


def _show(facts: Facts, name: str) -> str:
    return json.dumps(facts[name]) if name in facts else "default"
