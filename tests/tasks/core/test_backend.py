"""What imports do to the environment, each in a process of its own: imports happen once."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tasks.images.formats.idx import IDX_FILES
from tests.compilation import VARIABLE


def run(code: str, **variables: str) -> Any:
    """Run code that prints JSON, with these variables beside the usual ones."""
    names = ("KERAS_BACKEND", "XLA_FLAGS", "AUTOENCODER_XLA_FLAGS", VARIABLE)
    environment = {name: value for name, value in os.environ.items() if name not in names}
    shown = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env=environment | variables,
    ).stdout
    return json.loads(shown)


COMPUTE = """
import json, os
from tasks.core.backend import keras, tf
computed = tf.function(lambda x: x * 2.0, jit_compile=True)(tf.constant(3.0)).numpy()
config, prefixes = keras.config, ("TF_", "XLA_", "KERAS_", "NVIDIA_", "ONEDNN_")
print(json.dumps({
    "computed": float(computed),
    "precision": [config.floatx(), config.epsilon(), config.dtype_policy().name],
    "format": config.image_data_format(),
    "layer": keras.layers.Dense(1).dtype_policy.name,
    "variables": {k: v for k, v in os.environ.items() if k.startswith(prefixes)},
}))
"""
"""XLA reads its flags once."""


def test_our_xla_flags_are_accepted_and_what_the_user_set_for_other_programs_is_ignored(
    tmp_path: Path,
) -> None:
    ours = "--xla_cpu_max_isa=AVX"
    theirs = {
        "KERAS_BACKEND": "jax",
        "XLA_FLAGS": "--not_ours",
        "TF_XLA_FLAGS": "--not_ours",
        "NVIDIA_TF32_OVERRIDE": "0",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "TF_ENABLE_ONEDNN_OPTS": "1",
        "TF_NUM_INTRAOP_THREADS": "7",
        "TF_USE_LEGACY_KERAS": "1",
    }
    refused = {"floatx": "nonsense", "epsilon": [], "image_data_format": 7, "backend": "jax"}
    (tmp_path / "keras.json").write_text(json.dumps(refused))
    kept = {"KERAS_HOME": str(tmp_path), "TF_CPP_MIN_LOG_LEVEL": "2"}
    cache = tmp_path / "compiled"
    found = run(COMPUTE, **theirs, **kept, AUTOENCODER_XLA_FLAGS=ours, **{VARIABLE: str(cache)})
    (folder,) = cache.iterdir()
    assert len(list(folder.iterdir())) == 1, "what was compiled is kept where the setting says"
    assert found == {
        "computed": 6.0,
        "precision": ["float32", 1e-7, "float32"],
        "format": "channels_last",
        "layer": "float32",
        "variables": {
            **kept,
            "KERAS_BACKEND": "tensorflow",
            "XLA_FLAGS": ours,
            "TF_XLA_FLAGS": f"--tf_xla_persistent_cache_directory={folder}",
            "TF_ENABLE_ONEDNN_OPTS": "0",
        },
    }


DOWNLOAD = """
import json, os
from tasks.images.fashion_mnist import load_with_keras
try:
    load_with_keras()
except Exception as error:
    print(json.dumps([str(error.__cause__), "TF_XLA_FLAGS" in os.environ]))
"""


def test_downloads_are_kept_where_keras_keeps_them_and_no_settings_are_written(
    tmp_path: Path,
) -> None:
    folder = tmp_path / ".keras/datasets/fashion-mnist"
    for name in IDX_FILES.values():
        (folder / f"{name}.gz").mkdir(parents=True)  # there, and broken: nothing is downloaded
    error, flags_kept = run(DOWNLOAD, HOME=str(tmp_path), TF_XLA_FLAGS="--not_ours")
    assert str(folder) in error
    assert not flags_kept
    assert not (tmp_path / ".keras/keras.json").exists()


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
