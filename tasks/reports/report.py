"""A run as a report: markdown, and one HTML file that needs nothing else.

`python -m tasks.reports RUN --against RUN` renders it again, with another run as the rival.
"""

import re
from base64 import b64encode
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from tasks.core.records import FigureRecord
from tasks.evaluation.references import REFERENCES
from tasks.images import fashion_mnist
from tasks.reports.comparison import list_changes, list_differences
from tasks.reports.measures import MEASURES, find_notes, follow
from tasks.runs.manifest import Manifest

TEMPLATES = Path(__file__).parent / "templates"
MARKDOWN_FILE = "report.md"
HTML_FILE = "report.html"
LARGE_PICTURE = 400_000
"""Bytes from which on a picture is compressed, so that people can send the page to each other."""
MEDIA_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}
NOTHING = "-"
MARKDOWN_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\n": " "}
MARKDOWN_MARKS = "\\`*_[]|~$"
URL = re.compile(r"(https://[\w./-]*[\w/])")
"""Letters that no markdown has a meaning for, but for the underscore."""
NUMBER = re.compile(r"[-+]?[\d,.]+%?|" + NOTHING)


class Table(NamedTuple):
    """Text in rows; the first column names the row."""

    columns: list[str]
    rows: list[list[str]]

    @property
    def numeric(self) -> list[bool]:
        """Which columns are numbers alone, and stand to the right."""
        return [all(map(NUMBER.fullmatch, cells)) for cells in zip(*self.rows, strict=True)]


class Figure(NamedTuple):
    """A figure with everything that shows it."""

    record: FigureRecord
    uri: str
    """The picture itself, as a data URI."""


def render_files(manifest: Manifest, rival: Manifest | None, folder: Path) -> dict[str, str]:
    """Both forms of the report, by the name of their file.

    Args:
        folder: of the run, where its figures are.
    """
    return {
        HTML_FILE: render_html(manifest, rival, folder),
        MARKDOWN_FILE: render_markdown(manifest, rival),
    }


def render_markdown(manifest: Manifest, rival: Manifest | None) -> str:
    """The report as markdown; its figures are links into the run's folder."""
    environment = _environment(autoescape=False, finalize=escape_markdown)
    return environment.get_template("report.md.j2").render(_content(manifest, rival))


def render_html(manifest: Manifest, rival: Manifest | None, folder: Path) -> str:
    """The report as one HTML file.

    Args:
        folder: of the run, where its figures are.
    """
    environment = _environment(autoescape=True)
    figures = [Figure(record, _data_uri(folder / record.path)) for record in manifest.figures]
    content = _content(manifest, rival) | {"figures": figures}
    return environment.get_template("report.html.j2").render(content)


def _environment(**options: Any) -> Environment:
    return Environment(  # noqa: S701 - autoescape is among the options of each caller
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **options,
    )


def escape_markdown(value: object) -> str:
    """Text that markdown shows as it is, in a paragraph or a cell; a macro's markdown as it is.

    Addresses are links, in which an escape would be part of the address.
    """
    if isinstance(value, Markup):
        return value
    parts = URL.split(str(value))  # text and addresses in turn
    return "".join(f"<{part}>" if at % 2 else _escape(part) for at, part in enumerate(parts))


def _escape(text: str) -> str:
    text = "".join(MARKDOWN_ENTITIES.get(character, character) for character in text)
    return "".join(f"\\{mark}" if mark in MARKDOWN_MARKS else mark for mark in text)


def _data_uri(path: Path) -> str:
    vector = path.with_suffix(".svg")  # sharper, where there is one
    chosen = vector if vector.exists() else path
    content, kind = chosen.read_bytes(), MEDIA_TYPES[chosen.suffix]
    if len(content) > LARGE_PICTURE:
        content, kind = _compress(content), "image/webp"
    return f"data:{kind};base64,{b64encode(content).decode()}"


def _compress(picture: bytes) -> bytes:
    """With losses that nobody sees; the run's folder has the picture without them."""
    shrunk = BytesIO()
    with Image.open(BytesIO(picture)) as image:
        image.convert("RGB").save(shrunk, "WEBP", quality=90)
    return shrunk.getvalue()


def _content(manifest: Manifest, rival: Manifest | None) -> dict[str, Any]:
    """Everything that a template shows."""
    return {
        "manifest": manifest,
        "rival": rival,
        "headline": _headline(manifest),
        "checks": _checks(manifest),
        "metrics": _metrics(manifest),
        "notes": list(find_notes(manifest)),
        "meanings": [(measure.name, measure.meaning) for measure in MEASURES],
        "classes": _classes(manifest),
        "references": _references(manifest),
        "changes": _changes(manifest, rival) if rival else None,
        "differences": list(list_differences(manifest, rival)) if rival else [],
        "models": _models(manifest),
        "provenance": _provenance(manifest),
        "duration": (manifest.finished - manifest.started).total_seconds(),
    }


def _headline(manifest: Manifest) -> list[str]:
    return [
        f"{name}: loss {found.validation_loss:.4f} nats per pixel, {found.excess_loss:.4f} above "
        f"the entropy floor; mean squared error {found.reconstruction_mse:.4f}, PCA-"
        f"{found.code_size} {found.pca_mse:.4f}; {found.live_units} of {found.code_size} code "
        "units live"
        for name, found in manifest.metrics.items()
    ]


def _checks(manifest: Manifest) -> Table:
    return Table(
        ["check", "result", "what was found"],
        [
            [check.name, "passed" if check.passed else "failed", check.text]
            for check in manifest.verdict.checks
        ],
    )


def _metrics(manifest: Manifest) -> Table:
    baselines = manifest.baselines
    columns = [*manifest.metrics, *(f"PCA-{pca.components}" for pca in baselines.pca), "pixels"]
    rows = []
    for measure in MEASURES:
        values = [measure.of_model(found) for found in manifest.metrics.values()]
        values += [follow(pca, measure.of_pca) for pca in baselines.pca]
        values.append(follow(baselines.pixels.probes, measure.of_pixels))
        if any(value is not None for value in values):  # without labels there are no accuracies
            rows.append([measure.name, *(_format(value, measure.form) for value in values)])
    return Table(["", *columns], rows)


def _format(value: float | None, form: str) -> str:
    return NOTHING if value is None else format(value, form)


def _classes(manifest: Manifest) -> Table | None:
    found = list(manifest.metrics.values())
    if not found[0].classes:
        return None
    columns = ["class", "images"]
    for name in manifest.metrics:
        columns += [f"{name}: above the floor (nats)", f"{name}: mean squared error"]
    rows = []
    for classes in zip(*(metrics.classes for metrics in found), strict=True):
        row = [manifest.dataset.class_name(classes[0].label), str(classes[0].images)]
        for entry in classes:
            row += [f"{entry.loss - entry.floor:.4f}", f"{entry.mse:.5f}"]
        rows.append(row)
    return Table(columns, rows)


def _references(manifest: Manifest) -> Table | None:
    """Published results; they are of Fashion-MNIST alone."""
    if manifest.dataset.name != fashion_mnist.NAME:
        return None
    rows = [
        [f"this run, {name}", str(found.code_size), f"{found.validation_loss:.4f}", "this report"]
        for name, found in manifest.metrics.items()
    ]
    rows += [
        [entry.model, str(entry.code_size), f"{entry.loss:.4f}", entry.source]
        for entry in REFERENCES
    ]
    return Table(
        ["model", "code size", "cross-entropy per pixel (nats)", "source"],
        sorted(rows, key=lambda row: row[2]),
    )


def _changes(manifest: Manifest, rival: Manifest) -> Table:
    rows = [list(change) for change in list_changes(manifest, rival)]
    return Table(["", "this run", "its rival", "change"], rows)


def _models(manifest: Manifest) -> Table:
    columns = ["model", "layers", "epochs", "seed", "parameters", "trained in", "fingerprint"]
    rows = [
        [
            model.name,
            model.layers,
            str(model.spec.recipe.epochs),
            str(model.spec.seed),
            f"{model.parameters:,}",
            f"{model.seconds:.0f} s on a {model.device.upper()}",
            model.fingerprint,
        ]
        for model in manifest.models
    ]
    return Table(columns, rows)


def _provenance(manifest: Manifest) -> list[tuple[str, str]]:
    dataset = manifest.dataset
    versions = ", ".join(f"{name} {text}" for name, text in manifest.versions.model_dump().items())
    return [
        ("run", manifest.run),
        ("started", f"{manifest.started:%Y-%m-%d %H:%M:%S} UTC"),
        ("finished", f"{manifest.finished:%Y-%m-%d %H:%M:%S} UTC"),
        ("dataset", dataset.name),
        ("training images", f"{dataset.rows['train']:,}"),
        ("test images", f"{dataset.rows['test']:,}"),
        ("of these also training images", f"{dataset.duplicates:,}"),
        ("shape", f"{' x '.join(map(str, dataset.image_shape))}, {dataset.dtype}"),
        ("source", dataset.source),
        ("SHA-256 of the images", dataset.payload_sha256),
        ("versions", versions),
    ]
