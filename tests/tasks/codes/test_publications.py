import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.codes import (
    CodesError,
    changed_models,
    confirmed_at,
    open_published,
    read_publications,
)
from tasks.core.records import DatasetRecord
from tasks.models.store import ModelRecord
from tasks.runs.publication import publish
from tests.conftest import complete
from tests.tasks.codes.earlier import ARTIFACTS, DATASET, RUN

MONDAY = datetime(2026, 1, 5, 6, tzinfo=UTC)
DAY = timedelta(days=1)


def digests(**models: str) -> dict[str, dict[str, str]]:
    """Of models with train and test codes that differ by one character each."""
    return {name: {"train": f"{one}1", "test": f"{one}2"} for name, one in models.items()}


def write_journal(root: Path, *codes: dict[str, dict[str, str]], published: int = -1) -> None:
    """A run a day from Monday on, named by its number; the link leads to one of them."""
    runs = [f"run-{number}" for number in range(len(codes))]
    entries = [
        {"run": run, "time": (MONDAY + number * DAY).isoformat(), "codes_sha256": digest}
        for number, (run, digest) in enumerate(zip(runs, codes, strict=True))
    ]
    journal = root / "publications" / "mine.json"
    journal.parent.mkdir()
    journal.write_text(json.dumps({"publications": entries}))
    link = root / "published" / "mine"
    link.parent.mkdir()
    link.symlink_to(f"../runs/{runs[published]}")


@pytest.mark.parametrize(
    ("since", "changed"),
    [
        (MONDAY - DAY, ("deep", "shallow", "wide")),  # nothing was published yet
        (MONDAY, ("deep", "wide")),
        (MONDAY + DAY, ("wide",)),
        (MONDAY + 1.5 * DAY, ("wide",)),
        (MONDAY + 2 * DAY, ()),
    ],
)
def test_models_whose_codes_changed_since_are_named(
    since: datetime, changed: tuple[str, ...], root: Path
) -> None:
    write_journal(
        root,
        digests(shallow="a", deep="b"),
        digests(shallow="a", deep="c"),
        digests(shallow="a", deep="c", wide="d"),
    )
    assert changed_models("mine", since, root) == changed
    local = since.astimezone().replace(tzinfo=None)
    assert changed_models("mine", local) == changed


def test_one_split_is_enough_to_have_changed(root: Path) -> None:
    before, now = digests(deep="a"), digests(deep="a")
    now["deep"]["test"] = "other"
    write_journal(root, before, now)
    assert changed_models("mine", MONDAY, root) == ("deep",)


def test_a_model_that_is_gone_counts_as_changed(root: Path) -> None:
    write_journal(root, digests(shallow="a", deep="a"), digests(shallow="a"))
    assert changed_models("mine", MONDAY, root) == ("deep",)


def test_a_switch_that_is_not_recorded_yet_counts(root: Path) -> None:
    """Its process was killed in between, or is about to record it; the digests are not known."""
    write_journal(root, digests(deep="a"), digests(deep="b"), published=0)
    found = read_publications("mine", root)
    assert [entry.run for entry in found] == ["run-0", "run-1", "run-0"]
    assert datetime.now(UTC) - found[-1].time < DAY
    assert changed_models("mine", MONDAY, root) == ("deep",)


def test_publications_of_real_runs_have_the_digests_of_their_codes(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    first = complete("run-1", model, dataset, root)
    between = datetime.now(UTC)
    complete("run-2", model, dataset, root)
    found = read_publications(dataset.name)
    assert [entry.run for entry in found] == ["run-1", "run-2"]
    assert found[0].codes_sha256 == found[1].codes_sha256 == first.codes_sha256
    assert found[0].codes_sha256["shallow"].keys() == {"train", "test"}
    assert found[0].time < between < found[1].time
    assert changed_models(dataset.name, between) == ()
    publish("run-1", root)
    assert changed_models(dataset.name, between) == ()
    assert changed_models(dataset.name, between - DAY) == ("shallow",)


def test_the_codes_of_version_0_1_0_are_not_known() -> None:
    (publication,) = read_publications(DATASET, ARTIFACTS)
    assert (publication.run, publication.codes_sha256) == (RUN, {})


def test_nothing_published_is_refused(root: Path) -> None:
    with pytest.raises(CodesError, match=r"published/mine cannot be read \(No such file"):
        read_publications("mine")


def test_a_name_is_no_path(root: Path) -> None:
    with pytest.raises(CodesError, match="is not the name of a run or dataset"):
        read_publications("../mine")


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"publications": 1}', '{"publications": [{"run": "a"}]}', "\udcff"]
)
def test_a_damaged_journal_is_refused_in_one_line(content: Any, root: Path) -> None:
    write_journal(root, digests(deep="a"))
    (root / "publications" / "mine.json").write_text(content, errors="surrogateescape")
    with pytest.raises(CodesError, match=r"mine\.json is not a journal of publications") as refusal:
        read_publications("mine")
    assert "\n" not in str(refusal.value)


def confirm(root: Path, time: datetime | None) -> None:
    """As a run that ends unchanged does; runs of version 0.1.0 wrote no such field."""
    journal = root / "publications" / "mine.json"
    record = json.loads(journal.read_text())
    journal.write_text(json.dumps(record | {"confirmed": time and time.isoformat()}))


def test_what_is_published_was_confirmed_by_its_publication_or_a_later_run(root: Path) -> None:
    write_journal(root, digests(), digests())
    assert confirmed_at("mine", root) == MONDAY + DAY
    confirm(root, None)
    assert confirmed_at("mine", root) == MONDAY + DAY
    confirm(root, MONDAY + 3 * DAY)
    assert confirmed_at("mine", root) == MONDAY + 3 * DAY


def test_a_publication_is_newer_than_a_confirmation_before_it(root: Path) -> None:
    write_journal(root, digests(), digests())
    confirm(root, MONDAY)
    assert confirmed_at("mine", root) == MONDAY + DAY


def test_readers_may_refuse_what_nothing_confirmed_for_long(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("run-1", model, dataset, root)
    assert open_published(dataset.name, root, max_age=DAY).name == "run-1"
    journal = root / "publications" / f"{dataset.name}.json"
    record = json.loads(journal.read_text())
    record["publications"][0]["time"] = (datetime.now(UTC) - 10.1 * DAY).isoformat()
    journal.write_text(json.dumps(record))
    with pytest.raises(CodesError, match=r"last confirmed 10 days ago, .* at most 8 days: run"):
        open_published(dataset.name, root, max_age=8 * DAY)
    assert open_published(dataset.name, root).name == "run-1"
