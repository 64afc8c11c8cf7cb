import itertools
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.codes.published import run_folder
from tasks.core.records import DatasetRecord, FigureRecord
from tasks.core.storage import write_bytes
from tasks.evaluation.records import BasisMetrics, Probes
from tasks.models.store import ModelRecord
from tasks.reports.__main__ import main
from tasks.reports.metrics_table import METRICS
from tasks.reports.report import (
    LARGE_PICTURE,
    encode_uri,
    escape_markdown,
    render_html,
    render_markdown,
)
from tasks.runs.building import building_folder
from tasks.runs.manifest import Manifest, read_manifest
from tests.conftest import complete

PICTURE = b"\x89PNG\r\n\x1a\n a picture"
EVIL = "<script>alert(1)</script> | `x` [a](b) & $1$"


@pytest.fixture
def manifest(model: ModelRecord, dataset: DatasetRecord, root: Path) -> Manifest:
    write_bytes(building_folder("run-1", root) / "figures" / "a.png", PICTURE)
    done = complete("run-1", model, dataset, root)
    figure = FigureRecord(path="figures/a.png", title="A figure", text="It shows 'all' < 1")
    return done.model_copy(update={"figures": (figure,)})


def test_a_chart_is_shown_as_vectors_however_large(manifest: Manifest, root: Path) -> None:
    """Only pictures of pixels can be compressed."""
    folder = run_folder("run-1", root)
    chart = b"<svg>" + b"x" * (LARGE_PICTURE + 1) + b"</svg>"
    (folder / "figures" / "a.svg").write_bytes(chart)
    assert encode_uri(chart, "image/svg+xml") in render_html(manifest, None, folder)


class Page(HTMLParser):
    """The tags of a page, with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_run_folder_has_its_report(manifest: Manifest, root: Path) -> None:
    folder = run_folder("run-1", root)
    assert {"report.md", "report.html"} <= {file.path for file in manifest.files}
    assert (folder / "report.md").read_text().startswith(f"# {manifest.dataset.name}: published")
    assert "<!doctype html>" in (folder / "report.html").read_text()


def test_the_page_needs_nothing_else(manifest: Manifest, root: Path) -> None:
    html = render_html(manifest, None, run_folder("run-1", root))
    page = Page(html)
    tags = [tag for tag, _ in page.tags]
    assert not {"link", "iframe", "object"} & set(tags)
    assert tags.count("script") == 1, "the one that adds the reader's own time"
    assert not re.search(r"url\(|@import|\son\w+=", html)
    sources = [attributes["src"] for tag, attributes in page.tags if "src" in attributes]
    assert len(sources) == 1
    assert all(source and source.startswith("data:image/") for source in sources)


def test_the_page_is_accessible(manifest: Manifest, root: Path) -> None:
    page = Page(render_html(manifest, None, run_folder("run-1", root)))
    assert ("html", {"lang": "en"}) in page.tags
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    for tag, attributes in page.tags:
        if tag == "img":
            assert attributes["alt"] == "It shows 'all' < 1"
        if tag == "th":
            assert attributes["scope"] in ("col", "row")
    tags = [tag for tag, _ in page.tags]
    assert tags.count("caption") == tags.count("table") > 3


def test_a_class_name_is_harmless(manifest: Manifest, root: Path) -> None:
    named = manifest.dataset.model_copy(update={"class_names": (EVIL,)})
    evil = manifest.model_copy(update={"dataset": named})
    page = Page(render_html(evil, None, run_folder("run-1", root)))
    assert EVIL in page.text
    assert [tag for tag, _ in page.tags].count("script") == 1, "our own"
    row = next(line for line in render_markdown(evil, None).splitlines() if "alert(1)" in line)
    assert "<" not in row
    assert "&lt;script&gt;" in row
    assert len(re.findall(r"(?<!\\)\|", row)) == 5, "the cell stays one cell"


def test_markdown_is_escaped_where_text_is_put_in() -> None:
    assert escape_markdown("a_b*c\n<d>|$") == r"a\_b\*c &lt;d&gt;\|\$"
    assert escape_markdown(3) == "3"


def test_an_address_is_a_link_without_escapes() -> None:
    found = escape_markdown("a_b, https://example.org/a_b/c.md, d_e. https://example.org/a_b.")
    assert found == r"a\_b, <https://example.org/a_b/c.md>, d\_e. <https://example.org/a_b>."


def test_the_verdict_comes_first(manifest: Manifest) -> None:
    refused = manifest.verdict.model_copy(update={"outcome": "refused", "reason": "too few live"})
    lines = render_markdown(manifest.model_copy(update={"verdict": refused}), None).splitlines()
    assert lines[0].endswith(": refused")
    assert lines[2] == "**too few live**"


@pytest.mark.parametrize("keeps_basis", [True, False])
def test_the_page_explains_every_metric(manifest: Manifest, root: Path, keeps_basis: bool) -> None:
    if keeps_basis:
        kept = BasisMetrics(
            own_nearest=0.99,
            mean_distance=1.0,
            probes=Probes(linear=0.7, nearest_1=0.8, nearest_5=0.8),
        )
        metrics = {
            name: found.model_copy(update={"kept_basis": kept})
            for name, found in manifest.metrics.items()
        }
        manifest = manifest.model_copy(update={"metrics": metrics})
    text = render_html(manifest, None, run_folder("run-1", root))
    for metric in METRICS:
        shown = keeps_basis or not metric.model_field.startswith("kept_basis")
        assert (f"<dt>{metric.name}</dt>" in text) is shown
        row = f'<th scope="row">{re.escape(metric.name)}( [↑↓])?</th>'
        assert bool(re.search(row, text)) is shown


def test_large_pictures_are_compressed_in_the_page_alone(manifest: Manifest, root: Path) -> None:
    picture = run_folder("run-1", root) / "figures" / "a.png"
    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), np.uint8)
    Image.fromarray(noise).save(picture)
    before = picture.read_bytes()
    html = render_html(manifest, None, run_folder("run-1", root))
    assert "data:image/webp;base64," in html
    assert len(html) < len(before)
    assert picture.read_bytes() == before


def test_notes_and_labels_are_on_the_page_where_there_are_any(
    manifest: Manifest, root: Path
) -> None:
    folder = run_folder("run-1", root)
    narrow = {"effective_dimension": 1.25, "probes": None, "classes": ()}
    bare = manifest.metrics["shallow"].model_copy(update=narrow)
    html = render_html(manifest.model_copy(update={"metrics": {"shallow": bare}}), None, folder)
    assert "almost one direction" in Page(html).text
    assert "Classes</h2>" not in html
    whole = render_html(manifest, None, folder)
    assert "almost one direction" not in Page(whole).text
    assert "Classes</h2>" in whole


def test_the_command_compares_any_two_runs(
    model: ModelRecord,
    dataset: DatasetRecord,
    root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for run in ("run-1", "run-2"):
        complete(run, model, dataset, root)
    output = tmp_path / "out"
    assert main(["run-1", "--against", "run-2", "--output", str(output)]) == 0
    assert "Compared with run run-2" in (output / "report.html").read_text()
    assert "All metrics are equal in the digits" in (output / "report.md").read_text()
    before = read_manifest(run_folder("run-1", root))
    assert main(["run-3"]) == 1
    assert "No run starts with 'run-3'" in capsys.readouterr().err
    assert read_manifest(run_folder("run-1", root)) == before
