"""The stack of containers for real: attacked, interrupted, stopped and started again."""

import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tasks.codes.published import open_published, open_run
from tasks.core.records import SPLITS
from tasks.images.sources import IdxFolder
from tests.conftest import SAMPLE
from tests.end_to_end.containers import HEALTHY, NAME, REPOSITORY, Stack
from tests.end_to_end.serving import HURRY, long_run, read_processes
from tests.end_to_end.troubles import cancel
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(900)
WHOLE_SEED = 3
GPU_REQUEST = {"Driver": "nvidia", "Count": -1, "Capabilities": [["gpu"]]}


def run_on_the_mount(seed: int) -> dict[str, Any]:
    """A long run on the sample where the stack has it."""
    data = SAMPLE.model_copy(update={"source": IdxFolder(idx_folder="/data")})
    return {**long_run(seed), "data": data.model_dump(mode="json")}


def test_only_those_who_know_the_password_are_let_in(stack: Stack) -> None:
    assert stat.S_IMODE(stack.passwords.stat().st_mode) == 0o600
    for path, body in (("flows/count", {}), ("deployments/filter", {}), ("admin/settings", None)):
        method = "GET" if body is None else "POST"
        stranger = httpx.request(method, f"{stack.address}/api/{path}", json=body, trust_env=False)
        assert stranger.status_code == 401
    secrets = [line.partition("=")[2] for line in stack.passwords.read_text().splitlines()]
    assert len(secrets) == 2
    seen = stack.engine.run(*stack.command("logs", "--no-color")).stdout
    seen += stack.engine.docker("history", "--no-trunc", f"{NAME}:cpu")
    seen += b"".join(read_processes("cmdline").values()).decode(errors="replace")
    assert not [secret for secret in secrets if secret.rpartition(":")[2] in seen]


@pytest.mark.parametrize("service", [*HEALTHY, "init"])
def test_a_container_can_do_no_more_than_it_needs(stack: Stack, service: str) -> None:
    found = stack.engine.inspect(stack.container(service))
    host = found["HostConfig"]
    assert found["Config"]["User"] == ("postgres" if service == "database" else "10001:10001")
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert not host["Privileged"]
    assert min(host["Memory"], host["NanoCpus"], host["PidsLimit"]) > 0
    mounted = {mount["Destination"] for mount in found["Mounts"]}
    assert mounted == {
        "database": {"/var/lib/postgresql/data"},
        "worker": {"/artifacts", "/data"},
    }.get(service, set())
    published = [port["HostIp"] for ports in host["PortBindings"].values() for port in ports]
    assert published == (["127.0.0.1"] if service == "server" else [])


def test_the_worker_does_not_see_the_database(stack: Stack) -> None:
    networks = {
        service: set(stack.engine.inspect(stack.container(service))["NetworkSettings"]["Networks"])
        for service in HEALTHY
    }
    assert not networks["worker"] & networks["database"]
    assert stack.engine.inspect(f"{NAME}_database")["Internal"]


def test_the_worker_gets_the_gpus_that_the_compose_file_asks_for(stack: Stack) -> None:
    name = f"{NAME}-gpu"
    create = ("--file", "docker/compose.gpu.yaml", "up", "--no-start", "--no-deps", "worker")
    stack.engine.run(*stack.command(*create, project=name))
    (request,) = stack.engine.inspect(f"{name}_worker_1")["HostConfig"]["DeviceRequests"]
    assert request.items() >= GPU_REQUEST.items()


@pytest.fixture(scope="module")
def whole(stack: Stack) -> str:
    """A run during which the database is restarted, which is none of its containers."""
    run = stack.start(run_on_the_mount(WHOLE_SEED))
    stack.wait_until_training(run)
    stack.engine.docker("restart", stack.container("database"))
    ended = stack.wait_for(run, "Published")
    assert ended["run_count"] == 1
    return run


def test_a_run_survives_a_restart_of_the_database(stack: Stack, whole: str) -> None:
    published = open_run(whole, stack.artifacts)
    assert published.file("codes/test.h5").stat().st_uid == 10001
    wait_until((stack.artifacts / "neighbors" / whole).exists, stack.tail)


@pytest.fixture(scope="module")
def docker_worker(stack: Stack) -> Iterator[None]:
    """`make docker-worker`, on the host."""
    command = stack.engine.make_command("docker-worker", **stack.variables)
    log = stack.passwords.with_name("docker-worker.log")
    environment = {**stack.engine.environment, **HURRY, "PREFECT_HOME": str(log.parent / "prefect")}
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env={**environment, **stack.variables},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    wait_until(lambda: "started!" in log.read_text(), log.read_text, seconds=180)
    yield
    os.killpg(process.pid, signal.SIGKILL)  # asked to end, it would wait for its runs
    process.wait()


def container_of(run: str, stack: Stack) -> str:
    """The container that the Docker worker made for a run."""
    label = f"--filter=label=io.prefect.flow-run-id={run}"
    return stack.engine.docker("ps", "--quiet", label).strip()


def test_the_docker_worker_asks_for_the_gpus_of_its_deployment(
    stack: Stack, docker_worker: None, gpu_image: str
) -> None:
    run = stack.start(run_on_the_mount(seed=0), "retrain/container-gpu")
    ended = stack.wait_for(run, "Crashed", 60)
    # What an engine says that has no GPU to give.
    refusal = 'could not select device driver "nvidia" with capabilities: [[gpu]]'
    assert refusal in ended["state"]["message"]


def test_runs_survive_the_end_of_their_worker_and_of_their_container(
    stack: Stack, docker_worker: None, whole: str
) -> None:
    orphan = stack.start(run_on_the_mount(seed=2))
    stack.wait_until_training(orphan)
    stack.engine.docker("restart", stack.container("worker"))
    assert "Crashed" in stack.states(orphan)  # it was told to end before its worker ended
    again = run_on_the_mount(WHOLE_SEED)
    again["run"] = {**again["run"], "retrain": True}
    killed = stack.start(again, "retrain/container")
    stack.wait_until_training(killed)
    stack.engine.docker("kill", container_of(killed, stack))
    assert stack.wait_for(orphan, "Running")["run_count"] == 2
    stack.wait_for_message(orphan, "Resuming the deep model")
    cancel(stack, orphan)  # runs are published after a resumption in other tests
    assert stack.wait_for(killed, "Published", 600)["run_count"] == 2
    stack.wait_for_message(killed, "Resuming the deep model")
    stack.wait_for(orphan, "Cancelled")
    wait_until(lambda: not container_of(killed, stack), stack.tail)  # it ends after its run
    for split in SPLITS:
        resumed, expected = (
            open_run(run, stack.artifacts).file(f"codes/{split}.h5") for run in (killed, whole)
        )
        assert resumed.read_bytes() == expected.read_bytes()


def test_a_run_resumes_soon_after_all_containers_were_killed_at_once(stack: Stack) -> None:
    """As with a power failure: nobody could tell the server how the run ended."""
    run = stack.start(run_on_the_mount(seed=5))
    stack.wait_until_training(run)
    stack.engine.docker("kill", *(stack.container(name) for name in HEALTHY))
    stack.make("up")
    stack.wait_until_healthy()
    stack.wait_for(run, "Running", 120, or_else="Published")
    ended = stack.wait_for(run, "Published", 600)
    assert ended["run_count"] == 2
    stack.wait_for_message(run, "Resuming the deep model")


def test_nothing_is_lost_when_the_stack_goes_down_and_up_again(stack: Stack) -> None:
    def ended() -> set[str]:
        states = {"state": {"type": {"any_": ["COMPLETED", "CRASHED"]}}}
        return {run["id"] for run in stack.find("flow_runs", flow_runs=states)}

    def facts() -> tuple[set[str], str, bytes]:
        deployments = {found["id"] for found in stack.find("deployments")}
        published = open_published(SAMPLE.dataset, stack.artifacts).name
        return deployments, published, stack.passwords.read_bytes()

    runs, before = ended(), facts()
    assert runs
    stack.make("down")
    stack.make("up")
    stack.wait_until_healthy()
    assert runs <= ended()  # the server may start those again that crashed
    assert facts() == before
