"""A Docker engine, our images and the stack of containers, as the end-to-end tests use them."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

from tests.conftest import SAMPLE_FOLDER
from tests.end_to_end.serving import Server, ask_until, client_of, free_port
from tests.waiting import wait_until

REPOSITORY = Path(__file__).parents[2]
IMAGES = Path(__file__).parent / "images"
NAME = "autoencoder-flow-test"
"""Of images, containers, networks and volumes, beside those of a stack that is in use."""
DOCKER = "/usr/bin/docker"
"""Where Debian has it: a newer client without its plug-in for builds may come first on the path."""
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
PIP_CONFIGURATION = Path("/etc/pip.conf")


@dataclass(frozen=True)
class Engine:
    """A Docker engine, and the images that ours are made from."""

    environment: dict[str, str]
    bases: dict[str, str]
    """Of Python and PostgreSQL, where the official ones cannot be had: see `obtain_bases`."""

    def run(
        self,
        *command: str | Path,
        check: bool = True,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> subprocess.CompletedProcess[str]:
        """Run a command that talks to the engine."""
        ended = subprocess.run(
            [str(word) for word in command],
            cwd=REPOSITORY,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0 or not check, f"{command}:\n{ended.stdout}\n{ended.stderr}"
        return ended

    def docker(self, *words: str | Path) -> str:
        """What a command of Docker's prints."""
        return self.run(DOCKER, *words).stdout

    def inspect(self, name: str) -> dict[str, Any]:
        """What the engine knows of a container, an image or a volume."""
        found: list[dict[str, Any]] = json.loads(self.docker("inspect", name))
        return found[0]

    def make_command(self, target: str, **variables: str) -> list[str]:
        """`make`, with the variables that stay the same throughout the tests."""
        build = ["--network=host"]
        if "BASE_IMAGE" in self.bases:
            build.append(f"--build-arg=BASE_IMAGE={self.bases['BASE_IMAGE']}")
        if PIP_CONFIGURATION.exists():
            build.append(f"--secret=id=pip.conf,src={PIP_CONFIGURATION}")
        settings = {
            "DOCKER": DOCKER,
            "COMPOSE": "docker-compose",
            "STACK": NAME,
            "BUILD_ARGS": " ".join(build),
            "ARGS": "",  # not those of the `make` that runs the tests
            **variables,
        }
        return ["make", target, *(f"{name}={value}" for name, value in settings.items())]

    def obtain_bases(self) -> None:
        """Make base images from Debian's packages if no registry answers.

        They have the certificates of this machine, which may be needed to install packages.
        """
        if self.run(DOCKER, "pull", "--quiet", "hello-world", check=False).returncode == 0:
            return
        python, postgres = f"{NAME}-python", f"{NAME}-postgres"
        with TemporaryDirectory() as folder:
            archive = Path(folder) / "python.tar"
            packages = "--include=python3,python3-venv,ca-certificates"
            certificates = f'cp {CERTIFICATES} "$1{CERTIFICATES}"'
            mmdebstrap = ["mmdebstrap", "--quiet", "--variant=minbase", packages]
            self.run(*mmdebstrap, f"--customize-hook={certificates}", "bookworm", archive)
            self.docker("import", archive, python)
        build = [DOCKER, "build", "--quiet", "--network=host", f"--build-arg=BASE_IMAGE={python}"]
        file = f"--file={IMAGES / 'postgres.Dockerfile'}"
        self.run(*build, file, f"--tag={postgres}", IMAGES, variables={"DOCKER_BUILDKIT": "1"})
        self.bases.update(BASE_IMAGE=python, POSTGRES_IMAGE=postgres)

    def clean(self) -> None:
        """Remove everything that bears our name."""
        ours = f"--filter=name={NAME}"
        for kind, remove in (
            ("container", ["rm", "--force"]),
            ("volume", ["rm"]),
            ("network", ["rm"]),
        ):
            if found := self.docker(
                kind, "ls", "--quiet", ours, *(["--all"] * (kind == "container"))
            ):
                self.docker(kind, *remove, *found.split())
        if images := self.docker("images", "--quiet", f"--filter=reference={NAME}*"):
            self.docker("rmi", "--force", *set(images.split()))


@contextmanager
def start_engine(environment: dict[str, str]) -> Iterator[Engine]:
    """The engine that answers, or one of our own that leaves nothing behind."""
    answering = Engine(environment, {})
    if answering.run(DOCKER, "info", check=False).returncode == 0:
        answering.clean()
        answering.obtain_bases()
        try:
            yield answering
        finally:
            answering.clean()
        return
    with TemporaryDirectory(dir="/var/tmp", prefix="docker-") as name:
        folder = Path(name)
        with own_engine(folder, environment) as engine:
            engine.obtain_bases()
            yield engine


@contextmanager
def own_engine(folder: Path, environment: dict[str, str]) -> Iterator[Engine]:
    """An engine with all its files in a folder; its containers end with it."""
    address = f"unix://{folder}/docker.sock"
    command = ["dockerd", "--host", address, "--data-root", f"{folder}/data"]
    command += ["--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid"]
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    engine = Engine({**environment, "DOCKER_HOST": address}, {})
    try:
        ready = engine.run
        wait_until(lambda: ready(DOCKER, "info", check=False).returncode == 0, log.read_text)
        yield engine
        engine.clean()
    finally:
        process.terminate()
        process.wait(60)


def build_image(engine: Engine, device: str) -> str:
    """Build one of our images; return its name."""
    engine.run(*engine.make_command("image", DEVICE=device))
    return f"{NAME}:{device}"


@dataclass(frozen=True)
class Stack(Server):
    """`make up`."""

    engine: Engine
    passwords: Path
    variables: dict[str, str]
    """Of `make` and of the compose file."""

    def tail(self) -> str:
        return self.engine.run(*self.command("logs", "--no-color", "--tail=30")).stdout

    def make(self, target: str, **variables: str) -> str:
        settings = {**self.variables, **variables}
        return self.engine.run(
            *self.engine.make_command(target, **settings), variables=settings
        ).stdout

    def command(self, *words: str, project: str = NAME) -> list[str]:
        """A command of docker-compose's, on this stack or another one made like it."""
        settings = [f"{name}={value}" for name, value in self.variables.items()]
        compose = ["docker-compose", "--project-name", project, "--env-file", str(self.passwords)]
        files = ["--file", "docker/compose.yaml"]
        return ["env", f"STACK={NAME}", *settings, *compose, *files, *words]

    def container(self, service: str) -> str:
        """The name of a service's container."""
        return f"{NAME}_{service}_1"

    def wait_until_healthy(self) -> None:
        """Wait until all that has a health check passes it."""

        def healthy() -> bool:
            states = [self.engine.inspect(self.container(name))["State"] for name in HEALTHY]
            return all(state["Health"]["Status"] == "healthy" for state in states)

        ask_until(healthy, self.tail)


HEALTHY = ("database", "server", "worker")


@contextmanager
def start_stack(engine: Engine, folder: Path, **settings: str) -> Iterator[Stack]:
    """The stack on a free port, with the sample as its images; nothing of it stays."""
    port, passwords = free_port(), folder / "passwords.env"
    variables = {"PORT": str(port), "PASSWORDS": str(passwords), "DATA": str(SAMPLE_FOLDER)}
    variables |= settings
    if "POSTGRES_IMAGE" in engine.bases:
        variables["POSTGRES_IMAGE"] = engine.bases["POSTGRES_IMAGE"]
    engine.run(*engine.make_command("up", **variables), variables=variables)
    secret = passwords.read_text().splitlines()[0].partition("=")[2]
    artifacts = Path(engine.inspect(f"{NAME}_artifacts")["Mountpoint"])
    with client_of(port, secret) as client:
        stack = Stack(client, artifacts, engine, passwords, variables)
        try:
            stack.wait_until_healthy()
            yield stack
        finally:
            stack.make("down", ARGS="--volumes")
