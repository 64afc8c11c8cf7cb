"""What happens to a run when servers, databases and processes go away, at real durations.

As `tests/end_to_end/test_rescue.py`, but with the settings that people use: `make soak`. Prints
a row of a table for each situation, and fails if one did not end as it should: published and
announced once, in as many attempts as expected, with no other crash.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from tasks.codes.published import open_published, run_folder
from tasks.runs.manifest import read_manifest
from tests.conftest import SAMPLE
from tests.end_to_end.databases import Cluster, postgresql
from tests.end_to_end.serving import Served, long_run, serve
from tests.soak.containers import soak_stack
from tests.soak.situations import LONGEST_WAIT, SITUATIONS, Measures, Scene, Situation

MARGIN_SECONDS = 60
"""How much longer a run trains than its trouble lasts."""
MEASURED_EPOCHS, MOST_EPOCHS = 1_000, 10_000


class Result(NamedTuple):
    """What became of a run."""

    attempts: int
    crashes: int
    publications: int
    announcements: int

    @classmethod
    def expected_of(cls, situation: Situation) -> "Result":
        """What should become of it."""
        published = int(situation.ends == "Published")
        crashes = situation.attempts - 1
        attempts = situation.attempts if situation.ends else 0
        return cls(attempts, crashes, published, published)


class Place(NamedTuple):
    """Where situations happen."""

    served: Served
    cluster: Cluster | None
    epochs_a_second: float
    """Of the deep model on the sample."""


@contextmanager
def place(folder: Path, database: bool) -> Iterator[Place]:
    """A server on SQLite or PostgreSQL, and how fast it trains."""
    with ExitStack() as stack:
        cluster = stack.enter_context(postgresql("autoencoder-flow-soak")) if database else None
        variables = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": cluster.url} if cluster else {}
        served = stack.enter_context(serve(folder, **variables))
        run = served.start(run_of(0, MEASURED_EPOCHS))
        served.wait_for(run, "Published", LONGEST_WAIT)
        models = read_manifest(run_folder(run, served.artifacts)).models
        (deep,) = (model for model in models if model.name == "deep")
        yield Place(served, cluster, deep.spec.recipe.epochs / deep.seconds)


def run_of(seed: int, epochs: int) -> dict[str, Any]:
    """Parameters of a run that trains the deep model for so many epochs."""
    parameters = long_run(seed)
    # So many epochs are too many for the sample; the gate would refuse some.
    return {
        **parameters,
        "training": {**parameters["training"], "deep_epochs": epochs},
        "run": {**parameters["run"], "publish_anyway": True},
    }


def suffer(situation: Situation, seed: int, where: Place) -> tuple[Result, Measures]:
    """Let it happen to a run; return what became of the run, and how long what took."""
    served = where.served
    epochs = int(where.epochs_a_second * (situation.seconds + MARGIN_SECONDS))
    run = served.start(run_of(seed, min(epochs, MOST_EPOCHS)))
    if situation.training:
        served.wait_until_training(run, LONGEST_WAIT)
    scene = Scene(served, run, where.cluster)
    measures = situation.happen(scene, situation.seconds)
    if situation.ends:
        back = time.monotonic()
        measures["until its end"] = scene.seconds_until(situation.ends, back)
    return judge(scene), measures


def judge(scene: Scene) -> Result:
    """What became of a run that has ended or is gone."""
    served, run = scene.served, scene.run
    found = served.find("flow_runs", flow_runs={"id": {"any_": [run]}})
    published = open_published(SAMPLE.dataset, served.artifacts).name == run
    wanted = {"event": {"name": ["codes.published"]}}
    time.sleep(2)  # events are written each second
    events = served.client.post("events/filter", json={"filter": wanted, "limit": 50}).json()
    announced = [event for event in events["events"] if event["payload"]["run"] == run]
    return Result(
        found[0]["run_count"] if found else 0,
        served.states(run).count("Crashed"),
        int(published),
        len(announced),
    )


def show(name: str, result: NamedTuple, measures: Measures, is_right: bool) -> None:
    """Print a row of a table."""
    facts = [f"{value} {field}" for field, value in result._asdict().items()]
    facts += [f"{seconds:g} s {what}" for what, seconds in measures.items()]
    print(f"| {name} | {', '.join(facts)}{'' if is_right else ' **WRONG**'} |", flush=True)


def main(arguments: list[str]) -> int:
    """Go through the situations; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--only", nargs="*", default=[""], help="situations that begin so")
    parser.add_argument("--longest", type=float, default=300, help="seconds of a situation")
    parser.add_argument("--containers", action="store_true", help="also a stack of 0.3 cores each")
    options = parser.parse_args(arguments)
    chosen = [
        situation
        for situation in SITUATIONS
        if situation.name.startswith(tuple(options.only)) and situation.seconds <= options.longest
    ]
    wrong = 0
    for database in sorted({situation.database for situation in chosen}):
        with TemporaryDirectory() as folder, place(Path(folder), database) as where:
            for seed, situation in enumerate(chosen, start=1):
                if situation.database != database:
                    continue
                result, measures = suffer(situation, seed, where)
                is_right = result == Result.expected_of(situation)
                duration = f", {situation.seconds:g} s" if situation.seconds else ""
                show(situation.name + duration, result, measures, is_right)
                wrong += not is_right
    if options.containers:
        wrong += soak_stack(show)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
