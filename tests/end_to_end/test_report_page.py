"""The report of a run, opened from the disk in a real browser."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tasks.codes.published import PublishedRun

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
LEAST_CONTRAST = 4.5
"""Of text to its ground; WCAG 2.2, level AA."""

CONTRASTS = """
() => {
  const parse = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const linear = [r, g, b].map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const color = parse(getComputedStyle(e).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const texts = [...document.querySelectorAll("h1,h2,h3,p,li,th,td,caption,figcaption,dt,dd,code")];
  return texts.filter((e) => e.textContent.trim()).map((e) => {
    const [a, b] = [parse(getComputedStyle(e).color), ground(e)].map(light).sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), e.tagName + ": " + e.textContent.trim().slice(0, 40)];
  });
}
"""


class Visit(NamedTuple):
    """An open page and what it asked for."""

    page: "Page"
    requests: list[str]
    complaints: list[str]


def visit(browser: "Browser", path: Path, **options: Any) -> Visit:
    page = browser.new_page(**options)
    found = Visit(page, [], [])
    page.on("request", lambda request: found.requests.append(request.url))
    page.on("console", lambda message: found.complaints.append(message.text))
    page.on("pageerror", lambda error: found.complaints.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_load_state("load")
    return found


@pytest.fixture
def report(published: PublishedRun) -> Path:
    return published.file("report.html")


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_is_readable_on_any_screen(
    viewport: dict[str, int], scheme: str, report: Path, browser: "Browser", tmp_path: Path
) -> None:
    page, _, complaints = visit(browser, report, viewport=viewport, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 50
    assert not [text for contrast, text in contrasts if contrast < LEAST_CONTRAST]
    assert not complaints
    page.screenshot(path=tmp_path / f"{scheme}.png", full_page=True)
    page.close()


def test_needs_neither_network_nor_script(report: Path, browser: "Browser") -> None:
    page, requests, _ = visit(browser, report, java_script_enabled=False)
    assert page.locator("h1").inner_text().endswith("published")
    assert {url.split(":")[0] for url in requests} <= {"file", "data"}
    assert [url for url in requests if url.startswith("file")] == [report.as_uri()]
    page.close()


def test_every_figure_is_there_with_a_text(report: Path, browser: "Browser") -> None:
    page, _, _ = visit(browser, report)
    for image in page.locator("figure img").all():
        image.scroll_into_view_if_needed()
        image.evaluate("image => image.decode()")
        assert image.evaluate("image => image.naturalWidth") > 300
        assert len(image.get_attribute("alt") or "") > 40
    assert page.locator("figure img").count() == 15
    page.close()


def test_prints_on_white_without_cutting_figures(
    report: Path, browser: "Browser", tmp_path: Path
) -> None:
    page, _, _ = visit(browser, report, color_scheme="dark")
    page.emulate_media(media="print")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
    assert page.locator("figure").first.evaluate("f => getComputedStyle(f).breakInside") == "avoid"
    page.pdf(path=tmp_path / "report.pdf", format="A4")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    page.close()
