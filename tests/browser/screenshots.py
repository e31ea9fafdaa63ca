"""Makes the pictures in docs/pictures: each example's card, and the pages. `make screenshots` runs it."""

from __future__ import annotations

import io

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.chromium import launch
from tests.daemon import ROOT
from tests.observe.live import Server
from tests.preview.live import preview

EXAMPLES = ROOT / "conf/cards"
PICTURES = ROOT / "docs/pictures"
MOST = 120 * 1024  # bytes: a README is read over slow lines too
_COLOURS = 128


def main() -> None:
    """Make every picture anew."""
    PICTURES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = launch(playwright)
        for example in sorted(EXAMPLES.iterdir()):
            with preview("--config", example / "sidebard.toml", "--no-browser") as running:
                page = _open(browser, running.url, "light", 2)
                _keep(_sidebar(page), f"card-{example.name}")
                page.close()
                if example.name == "shop":
                    for scheme in ("light", "dark"):
                        page = _open(browser, running.url, scheme, 1.5)
                        _keep(page.screenshot(), f"preview-{scheme}")
                        page.close()
        server = Server()
        page = browser.new_page(viewport={"width": 1100, "height": 800})
        page.goto(server.url)
        _keep(page.screenshot(), "status")
        page.close()
        server.close()
        browser.close()


def _open(browser: Browser, url: str, scheme: str, scale: float) -> Page:
    page = browser.new_page(
        viewport={"width": 1200, "height": 720},
        color_scheme=scheme,  # type: ignore[arg-type]
        device_scale_factor=scale,
    )
    page.goto(url)
    page.frame_locator("#card").locator("h4").first.wait_for()
    return page


def _sidebar(page: Page) -> bytes:
    """Return a picture of the sidebar as far down as the card reaches, for an administrator who unfolded a section."""
    request = page.locator("#request")
    with page.expect_response("**/answer"):
        request.fill(request.input_value().replace('"role": "user"', '"role": "admin"'))
    page.set_viewport_size({"width": 1200, "height": 1600})
    page.wait_for_timeout(500)  # until it is drawn
    page.frame_locator("#card").locator("[aria-expanded=false]").first.click()
    page.mouse.move(0, 0)
    page.wait_for_timeout(100)
    panel, card = page.locator(".sidebar").bounding_box(), page.locator("#card").bounding_box()
    assert panel is not None
    assert card is not None
    return page.screenshot(clip={**panel, "height": card["y"] + card["height"] - panel["y"]})


def _keep(picture: bytes, name: str) -> None:
    """Write a picture with few colours, which is a third of the size and looks the same."""
    small = Image.open(io.BytesIO(picture)).convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
    file = PICTURES / f"{name}.png"
    small.save(file, optimize=True)
    assert file.stat().st_size <= MOST, f"{file} has {file.stat().st_size} bytes, more than {MOST}"


if __name__ == "__main__":
    main()
