"""Our container images, built and run on a real engine."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SAMPLE, SAMPLE_FOLDER
from tests.end_to_end.containers import DOCKER, NAME, REPOSITORY, Engine
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(900)
RESTRICTED = (
    *("--rm", "--read-only", "--tmpfs=/tmp", "--network=none"),
    *("--cap-drop=ALL", "--security-opt=no-new-privileges"),
)
LEFTOVERS = (
    "find /tmp /var/cache /var/lib/apt/lists -type f; find / -xdev -path '*/.cache/*' -type f"
)
INSTALLERS = (
    "find / -xdev -name ensurepip -o -xdev -path '*-packages/pip' -o -xdev -name 'pip-*.whl'; "
    "python3 -m ensurepip --version 2>/dev/null; /usr/bin/python3 -m pip --version 2>/dev/null"
    " || true"
)
TIME = ("--date=format-local:%Y-%m-%dT%H:%M:%SZ", "--format=%cd")
ORIGIN = {
    "revision": ("git", "rev-parse", "HEAD"),
    "created": ("env", "TZ=UTC", "git", "log", "-1", *TIME),
}
"""Labels, and the commands that print what they say: the commit and its date."""
FLAGS = [
    *("--dataset", SAMPLE.dataset, "--shallow-epochs", "2", "--deep-epochs", "2"),
    *("--pca-ratio", "1000", "--live-share", "0"),
    *("--dimension-share", "0", "--neighbor-tolerance", "1"),
]


def retrain(image: str, folder: Path, *flags: str) -> list[str]:
    """A single run in a container that can reach nothing but two folders."""
    mounts = (f"--volume={SAMPLE_FOLDER}:/data:ro", f"--volume={folder}:/artifacts")
    command = ("python", "-m", "flows.retrain", *FLAGS, "--source.idx-folder", "/data", *flags)
    return [*RESTRICTED, *mounts, image, *command]


def test_the_image_holds_what_it_needs_and_nothing_to_build_with(
    engine: Engine, cpu_image: str
) -> None:
    image = engine.inspect(cpu_image)
    assert image["Size"] < 2.5e9
    assert image["Config"]["User"] == "10001:10001"
    labels = image["Config"]["Labels"]
    told = {name: labels[f"org.opencontainers.image.{name}"] for name in ORIGIN}
    assert told == {name: output_of(*command) for name, command in ORIGIN.items()}
    assert labels["org.opencontainers.image.licenses"] == "MIT"
    assert labels["org.opencontainers.image.version"] in (REPOSITORY / "pyproject.toml").read_text()
    assert "org.opencontainers.image.source" in labels
    assert look(engine, cpu_image, "ls /app").split() == [
        *("LICENSE", "flows", "prefect.yaml", "pyproject.toml", "tasks")
    ]
    assert look(engine, cpu_image, f"{LEFTOVERS}; which pip gcc cc || true") == ""
    assert look(engine, cpu_image, INSTALLERS) == ""


def output_of(*command: str) -> str:
    ended = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    return ended.stdout.strip()


def look(engine: Engine, image: str, script: str) -> str:
    """What a shell script prints in an image."""
    return engine.docker("run", "--rm", "--user=0", "--entrypoint=sh", image, "-c", script)


def test_the_bill_of_materials_names_every_package(engine: Engine, cpu_image: str) -> None:
    bill = json.loads(engine.docker("run", "--rm", cpu_image, "cat", "/opt/venv/sbom.cdx.json"))
    named = {f"{found['name']} {found['version']}" for found in bill["components"]}
    installed = (
        "import importlib.metadata as m; [print(d.name, d.version) for d in m.distributions()]"
    )
    python = engine.docker("run", "--rm", cpu_image, "python", "-c", installed)
    debian = ("dpkg-query", "--show", "--showformat=${Package} ${Version}\n")
    packages = {
        *python.splitlines(),
        *engine.docker("run", "--rm", cpu_image, *debian).splitlines(),
    }
    assert packages == named
    assert len(packages) > 200
    image = bill["metadata"]["component"]
    assert image["name"] == "autoencoder-flow:cpu"
    assert image["version"] == output_of(*ORIGIN["revision"])
    assert "serialNumber" not in bill, "the same packages give the same bytes"
    assert "timestamp" not in bill["metadata"]
    kinds: dict[str, list[dict[str, Any]]] = {"pypi": [], "deb": []}
    for found in bill["components"]:
        kinds[found["purl"].removeprefix("pkg:").partition("/")[0]].append(found)
    lock = (REPOSITORY / "requirements/cpu.txt").read_text()
    for found in kinds["pypi"]:
        (sha256,) = found["hashes"]
        assert f"--hash=sha256:{sha256['content']}" in lock
    for found in kinds.values():
        licensed = sum("licenses" in component for component in found)
        assert licensed > 0.7 * len(found)


def test_a_single_run_writes_the_same_codes_as_outside_for_any_user(
    engine: Engine, cpu_image: str, tmp_path: Path
) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    os.chown(inside, 1234, 1234)
    command = [
        sys.executable,
        "-m",
        "flows.retrain",
        *FLAGS,
        "--source.idx-folder",
        str(SAMPLE_FOLDER),
    ]
    environment = {**os.environ, "AUTOENCODER_ARTIFACTS": str(outside)}
    with ThreadPoolExecutor(1) as executor:
        run = executor.submit(
            subprocess.run, command, cwd=REPOSITORY, env=environment, capture_output=True, text=True
        )
        shown = engine.docker("run", "--user=1234:1234", *retrain(cpu_image, inside))
    assert f"Published: readers of {SAMPLE.dataset} now get run" in shown
    assert run.result().returncode == 0, run.result().stderr
    for split in ("train", "test"):
        ours, theirs = (
            root / "published" / SAMPLE.dataset / "codes" / f"{split}.h5"
            for root in (inside, outside)
        )
        assert ours.resolve().stat().st_uid == 1234
        assert ours.read_bytes() == theirs.read_bytes()


def test_a_new_volume_takes_any_user_of_group_0_as_documented(
    engine: Engine, cpu_image: str
) -> None:
    """OpenShift chooses such a user; RUN_AS names one."""
    volume = f"--volume={NAME}-any-user:/artifacts"

    def write(user: str) -> int:
        command = ("run", "--rm", f"--user={user}", volume, cpu_image, "touch", "/artifacts/file")
        return engine.run(DOCKER, *command, check=False).returncode

    assert write("12345:12345") != 0
    assert write("12345:0") == 0
    assert write("20000:0") != 0, "it is another user's file"
    change = ("chown", "-R", "20000:0", "/artifacts")
    engine.docker("run", "--rm", "--user=0", volume, cpu_image, *change)
    assert write("20000:0") == 0
    engine.docker("volume", "rm", f"{NAME}-any-user")


def test_a_share_of_a_core_counts_as_one(engine: Engine, cpu_image: str) -> None:
    program = "from tasks.core.cores import usable_cores; print(usable_cores())"
    command = ("run", "--rm", "--cpus=0.5", cpu_image, "python", "-c", program)
    assert engine.docker(*command).strip() == "1"


def test_docker_stop_lets_a_training_store_its_state(
    engine: Engine, cpu_image: str, tmp_path: Path
) -> None:
    tmp_path.chmod(0o777)
    name = f"--name={NAME}-stopped"
    engine.docker(
        "run", "--detach", name, *retrain(cpu_image, tmp_path, "--deep-epochs", "10000")[1:]
    )
    states = "models/*/checkpoints/[!.]*"
    wait_until(lambda: list(tmp_path.glob(states)), lambda: "no checkpoint")
    before = time.time()
    engine.docker("stop", "--time=60", f"{NAME}-stopped")
    assert time.time() - before < 30
    assert engine.inspect(f"{NAME}-stopped")["State"]["ExitCode"] == 128 + 15
    assert max(path.stat().st_mtime for path in tmp_path.glob(states)) > before - 1
    engine.docker("rm", f"{NAME}-stopped")


LOAD_LIBRARIES = """
import ctypes, pathlib, sysconfig
from tasks.core.backend import tf
root = pathlib.Path(sysconfig.get_path("purelib"), "nvidia")
names = ("cublas", "cublasLt", "cudart", "cudnn", "cufft", "cusolver", "cusparse", "nccl", "nvrtc")
for name in names:
    (path,) = root.glob(f"*/lib/lib{name}.so.*")
    ctypes.CDLL(path)
print(tf.test.is_built_with_cuda(), len(names))
"""


def test_the_gpu_image_has_cuda_and_the_libraries_that_it_needs(
    engine: Engine, gpu_image: str
) -> None:
    shown = engine.docker("run", "--rm", gpu_image, "python", "-c", LOAD_LIBRARIES)
    assert shown == "True 9\n"


def test_the_gpu_image_computes_on_the_cpu_unless_told_otherwise(
    engine: Engine, gpu_image: str, tmp_path: Path
) -> None:
    tmp_path.chmod(0o777)
    refused = engine.run(
        DOCKER, "run", *retrain(gpu_image, tmp_path, "--device", "gpu"), check=False
    )
    assert refused.returncode == 1
    assert "device=gpu, but TensorFlow sees no GPU" in refused.stderr
    assert "Traceback" not in refused.stderr
    engine.docker("run", *retrain(gpu_image, tmp_path, "--quick"))
    assert len(list(tmp_path.glob("runs/*/codes/test.h5"))) == 1
