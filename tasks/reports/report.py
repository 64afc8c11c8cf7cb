"""The report of a run: markdown, and one HTML file that needs nothing else."""

import re
from base64 import b64encode
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from tasks.core.records import FigureRecord
from tasks.reports.sections import make_sections
from tasks.runs.manifest import Manifest

TEMPLATES = Path(__file__).parent / "templates"
MARKDOWN_FILE = "report.md"
HTML_FILE = "report.html"
LARGE_PICTURE = 400_000
"""Bytes from which on a picture in the page is compressed, so that the page fits into an email."""
CHARTS = ("learning-curves", "classes", "activity-", "map-")
"""How the files of figures begin that have no pictures of images in them."""
CONTENTS = (
    ("figures", "Figures"),
    ("metrics", "Metrics"),
    ("references", "Published results"),
    ("other", "Compared with the run before"),
    ("gate", "Quality gate"),
    ("classes", "Classes"),
    ("models", "Models"),
    ("provenance", "Provenance"),
    ("codes", "Reading the codes"),
)
"""Ids and titles of the parts of the page; a part that has nothing to show is left out."""
MARKDOWN_ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\n": " "}
    | {mark: f"\\{mark}" for mark in "\\`*_[]|~$"}
)
URL = re.compile(r"(https://[\w./-]*[\w/])")
"""Only characters without a meaning in markdown, except the underscore."""


class ShownFigure(NamedTuple):
    """A figure in the page."""

    record: FigureRecord
    uri: str

    @property
    def is_chart(self) -> bool:
        """Whether it is of lines and points on white, which become light on black in dark mode."""
        return Path(self.record.path).name.startswith(CHARTS)


def render_files(manifest: Manifest, other: Manifest | None, folder: Path) -> dict[str, str]:
    """Both forms of the report, by file name.

    Args:
        other: the run to compare with, if there is one.
        folder: of the run; has its figures.
    """
    return {
        HTML_FILE: render_html(manifest, other, folder),
        MARKDOWN_FILE: render_markdown(manifest, other),
    }


def render_markdown(manifest: Manifest, other: Manifest | None) -> str:
    """The report as markdown; its figures are links into the run's folder."""
    return render("report.md.j2", make_sections(manifest, other))


def render_html(manifest: Manifest, other: Manifest | None, folder: Path) -> str:
    """The report as one HTML file, pictures included."""
    figures = [ShownFigure(record, _data_uri(folder / record.path)) for record in manifest.figures]
    content = make_sections(manifest, other) | {"figures": figures}
    contents = [(name, title) for name, title in CONTENTS if content.get(name, True)]
    content["contents"] = contents
    return render("report.html.j2", content)


def render(template: str, content: dict[str, Any]) -> str:
    """Fill in a template, `*.html.j2` or `*.md.j2`; values are escaped for its format."""
    if template.endswith(".html.j2"):
        environment = _environment(autoescape=True)
    else:
        environment = _environment(autoescape=False, finalize=escape_markdown)
    return environment.get_template(template).render(content)


@cache
def _environment(**options: Any) -> Environment:
    """Made once: it compiles each template once."""
    return Environment(  # noqa: S701 - each caller passes autoescape
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **options,
    )


def escape_markdown(value: object) -> str:
    """Text that markdown shows unchanged; the output of a macro (`Markup`) is not escaped.

    Addresses become links, in which an escape would be part of the address.
    """
    if isinstance(value, Markup):
        return value
    parts = URL.split(str(value))  # text and addresses in turn
    return "".join(
        f"<{part}>" if position % 2 else part.translate(MARKDOWN_ESCAPES)
        for position, part in enumerate(parts)
    )


def _data_uri(path: Path) -> str:
    vector = path.with_suffix(".svg")  # sharper; only charts have one
    if vector.exists():
        return encode_uri(vector.read_bytes(), "image/svg+xml")
    if path.stat().st_size <= LARGE_PICTURE:
        return encode_uri(path.read_bytes(), "image/png")
    compressed = BytesIO()
    with Image.open(path) as image:  # with invisible losses; the run's folder has the original
        image.convert("RGB").save(compressed, "WEBP", quality=90)
    return encode_uri(compressed.getvalue(), "image/webp")


def encode_uri(content: bytes, kind: str) -> str:
    """A file of a media type as a data URI."""
    return f"data:{kind};base64,{b64encode(content).decode()}"
