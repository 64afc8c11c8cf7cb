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


COMPUTE = """
import json, os
from tasks.core.backend import keras, tf
computed = tf.function(lambda x: x * 2.0, jit_compile=True)(tf.constant(3.0)).numpy()
flags, backend = os.environ["XLA_FLAGS"], keras.backend.backend()
others = ("TF_XLA_FLAGS", "NVIDIA_TF32_OVERRIDE", "TF_ENABLE_ONEDNN_OPTS")
found = {name: os.environ[name] for name in others if name in os.environ}
print(json.dumps({"backend": backend, "flags": flags, "computed": float(computed), **found}))
"""
"""XLA reads its flags once, and ends the process if it does not know one."""


def test_our_xla_flags_are_accepted_and_the_user_s_own_and_keras_backend_ignored() -> None:
    ours = "--xla_cpu_max_isa=AVX"
    theirs = {
        "KERAS_BACKEND": "jax",
        "XLA_FLAGS": "--not_ours",
        "TF_XLA_FLAGS": "--tf_xla_auto_jit=2",
        "NVIDIA_TF32_OVERRIDE": "0",
        "TF_ENABLE_ONEDNN_OPTS": "1",
    }
    found = run(COMPUTE, **theirs, AUTOENCODER_XLA_FLAGS=ours)
    settings = {"backend": "tensorflow", "flags": ours, "TF_ENABLE_ONEDNN_OPTS": "0"}
    assert found == {**settings, "computed": 6.0}


def test_an_unknown_xla_flag_is_refused() -> None:
    with pytest.raises(subprocess.CalledProcessError) as refusal:
        run(COMPUTE, AUTOENCODER_XLA_FLAGS="--xla_no_such_flag=1")
    assert "xla_no_such_flag" in refusal.value.stderr


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
