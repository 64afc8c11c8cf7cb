"""What imports do to the environment, each in a process of its own: imports happen once."""

import json
import os
import subprocess
import sys

import pytest


def run(code: str, **variables: str) -> dict[str, str]:
    """Run code that prints JSON, with these variables beside the usual ones."""
    names = ("KERAS_BACKEND", "XLA_FLAGS", "AUTOENCODER_XLA_FLAGS")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    shown = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env=environment | variables,
    ).stdout
    result: dict[str, str] = json.loads(shown)
    return result


def test_the_user_s_keras_backend_and_xla_flags_are_ignored() -> None:
    code = (
        "import json, os\n"
        "from tasks.core.backend import keras, tf\n"
        "flags = os.environ['XLA_FLAGS']\n"
        "others = ('TF_XLA_FLAGS', 'NVIDIA_TF32_OVERRIDE', 'TF_ENABLE_ONEDNN_OPTS')\n"
        "found = {name: os.environ[name] for name in others if name in os.environ}\n"
        "print(json.dumps({'backend': keras.backend.backend(), 'flags': flags, **found}))"
    )
    ours = "--xla_cpu_max_isa=AVX2"
    theirs = {
        "KERAS_BACKEND": "jax",
        "XLA_FLAGS": "--xla_cpu_enable_fast_math=true",
        "TF_XLA_FLAGS": "--tf_xla_auto_jit=2",
        "NVIDIA_TF32_OVERRIDE": "0",
        "TF_ENABLE_ONEDNN_OPTS": "1",
    }
    found = run(code, **theirs, AUTOENCODER_XLA_FLAGS=ours)
    assert found == {"backend": "tensorflow", "flags": ours, "TF_ENABLE_ONEDNN_OPTS": "0"}


@pytest.mark.parametrize(
    "module", ["tasks", "tasks.codes", "tasks.core.storage", "tasks.images.dataset"]
)
def test_other_imports_leave_the_environment_as_it_is(module: str) -> None:
    code = (
        "import json, os, sys\n"
        "before = dict(os.environ)\n"
        f"import {module}\n"
        "changed = {k: v for k, v in os.environ.items() if before.get(k) != v}\n"
        "assert not before.keys() - os.environ.keys()\n"
        "assert 'tensorflow' not in sys.modules\n"
        "print(json.dumps(changed))"
    )
    assert run(code, KERAS_BACKEND="jax", XLA_FLAGS="--theirs") == {}
