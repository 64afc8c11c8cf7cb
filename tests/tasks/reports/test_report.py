import itertools
import re
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.codes.published import run_folder
from tasks.core.records import DatasetRecord, FigureRecord
from tasks.core.storage import write_bytes
from tasks.models.store import ModelRecord
from tasks.reports.__main__ import main
from tasks.reports.report import Table, escape_markdown, render_html, render_markdown
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
    assert not {"script", "link", "iframe", "object"} & set(tags)
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
    assert "script" not in [tag for tag, _ in page.tags]
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


def test_numbers_stand_to_the_right_and_text_to_the_left() -> None:
    rows = [["a", "1,000", "-3.1%", "x", "+0.1"], ["b", "-", "2.0%", "1", "32 of 32"]]
    table = Table(["", "rows", "share", "note", "units"], rows)
    assert table.numeric == [False, True, True, False, False]


def test_the_verdict_comes_first(manifest: Manifest) -> None:
    refused = manifest.verdict.model_copy(update={"outcome": "refused", "reason": "too few live"})
    lines = render_markdown(manifest.model_copy(update={"verdict": refused}), None).splitlines()
    assert lines[0].endswith(": refused")
    assert lines[2] == "**too few live**"


def test_deltas_to_the_rival_are_shown(manifest: Manifest) -> None:
    metrics = manifest.metrics["shallow"].model_copy(update={"validation_loss": 0.31})
    training = manifest.parameters.training.model_copy(update={"seed": 3})
    before = manifest.model_copy(
        update={
            "run": "run-0",
            "metrics": {"shallow": metrics, "wide": metrics},
            "parameters": manifest.parameters.model_copy(update={"training": training}),
            "finished": manifest.finished - timedelta(days=7),
        }
    )
    text = render_markdown(manifest, before)
    assert "## Against run run-0" in text
    assert "| shallow: cross-entropy per pixel (nats) | 0.3000 | 0.3100 | -0.0100 |" in text
    assert "Parameter training.seed: 0, before 3." in text
    assert "The images are the same." in text
    assert "The wide model is no longer trained." in text
    assert "The wide model is new." in render_markdown(before, manifest)
    assert "shallow: mean squared error |" not in text.split("## Against")[1].split("##")[0]


def test_a_change_that_is_not_seen_is_not_listed(manifest: Manifest) -> None:
    found = manifest.metrics["shallow"]
    almost = found.model_copy(update={"validation_loss": found.validation_loss + 1e-6})
    text = render_markdown(manifest, manifest.model_copy(update={"metrics": {"shallow": almost}}))
    assert "-0.0000" not in text
    assert "Every metric is the same, in the digits shown here." in text


def test_accuracies_differ_by_percentage_points(manifest: Manifest) -> None:
    found = manifest.metrics["shallow"]
    assert found.probes
    before = found.model_copy(update={"probes": found.probes.model_copy(update={"linear": 0.79})})
    text = render_markdown(manifest, manifest.model_copy(update={"metrics": {"shallow": before}}))
    assert "| shallow: accuracy: linear probe | 80.00% | 79.00% | +1.00 points |" in text


def test_drift_is_told_against_any_rival(manifest: Manifest) -> None:
    pixels = manifest.baselines.pixels
    darker = pixels.summary.model_copy(update={"means": ((0.14, 0.34),)})
    rival = manifest.model_copy(
        update={
            "run": "run-0",
            "dataset": manifest.dataset.model_copy(update={"payload_sha256": "0" * 64}),
            "baselines": manifest.baselines.model_copy(
                update={"pixels": pixels.model_copy(update={"summary": darker})}
            ),
        }
    )
    assert "Their mean moved by 0.200 standard deviations" in render_markdown(manifest, rival)


def test_a_code_that_is_almost_one_direction_is_explained(manifest: Manifest, root: Path) -> None:
    narrow = {"effective_dimension": 1.25, "correlation": 0.76}
    flat = manifest.metrics["shallow"].model_copy(update=narrow)
    folder = run_folder("run-1", root)
    text = Page(
        render_html(manifest.model_copy(update={"metrics": {"shallow": flat}}), None, folder)
    )
    assert "almost one direction: at least 80% of its variance" in text.text
    assert "mean correlation of two units 0.76" in text.text
    assert "for 80.0% of the test images, in PCA-32 for 80.0%" in text.text
    assert "almost one direction" not in Page(render_html(manifest, None, folder)).text


def test_large_pictures_are_compressed_in_the_page_alone(manifest: Manifest, root: Path) -> None:
    picture = run_folder("run-1", root) / "figures" / "a.png"
    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), np.uint8)
    Image.fromarray(noise).save(picture)
    before = picture.read_bytes()
    html = render_html(manifest, None, run_folder("run-1", root))
    assert "data:image/webp;base64," in html
    assert len(html) < len(before)
    assert picture.read_bytes() == before


def test_published_results_are_those_of_fashion_mnist_alone(manifest: Manifest) -> None:
    assert "Published results" not in render_markdown(manifest, None)
    named = manifest.dataset.model_copy(update={"name": "fashion-mnist"})
    text = render_markdown(manifest.model_copy(update={"dataset": named}), None)
    assert "| the lab, deep | 32 | 0.2774 |" in text
    assert "| 20 | 0.2712 |" in text


def test_a_run_without_labels_has_a_report(manifest: Manifest, root: Path) -> None:
    bare = manifest.metrics["shallow"].model_copy(update={"probes": None, "classes": ()})
    unlabelled = manifest.model_copy(update={"metrics": {"shallow": bare}})
    text = render_markdown(unlabelled, None)
    assert "## Classes" not in text
    assert "| accuracy: linear probe | - | 80.00% | 80.00% |" in text
    assert "Classes</h2>" not in render_html(unlabelled, None, run_folder("run-1", root))


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
    assert "Against run run-2" in (output / "report.html").read_text()
    assert "Every metric is the same, in the digits" in (output / "report.md").read_text()
    before = read_manifest(run_folder("run-1", root))
    assert main(["run-3"]) == 1
    assert "No run starts with 'run-3'" in capsys.readouterr().err
    assert read_manifest(run_folder("run-1", root)) == before
