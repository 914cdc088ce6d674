"""The page in a browser, headless Chromium: skipped where there is none."""

import shutil

import numpy as np
import pytest
from PIL import Image

from tests.models.priors.tiny_prior import CLASSES, GRID, IMAGE, random_images

sync_api = pytest.importorskip("playwright.sync_api")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as started:
        found = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def page(browser, address):
    # Playwright's own scripts need what the page's policy forbids.
    page = browser.new_context(bypass_csp=True).new_page()
    page.set_default_timeout(120_000)
    asked, wrong = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(address)
    page.wait_for_selector("#draw-palette button")
    yield page
    page.close()
    others = [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    assert others == [] and wrong == []


def open_tab(page, name):
    page.click(f"[data-tab={name}]")


def wait_for(page, status):
    page.wait_for_function(
        f"document.querySelector('{status}').textContent.startsWith('Done')"
        " || !document.querySelector('#error').hidden"
    )
    assert page.inner_text(status).startswith("Done"), page.inner_text("#error")


def map_of(page):
    """The colours on the canvas, (H, W, 3)."""
    values = page.evaluate(
        "() => { const c = document.querySelector('#draw-canvas');"
        " return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]; }"
    )
    return np.array(values).reshape(*IMAGE, 4)[..., :3]


def pictures_of(page, where):
    return page.eval_on_selector_all(f"{where} img", "all => all.map((one) => one.src)")


def drag(page, start, end):
    """Draw from one pixel of the map, (row, column), to another."""
    box = page.locator("#draw-canvas").bounding_box()
    at = [
        (
            box["x"] + (c + 0.5) * box["width"] / IMAGE[1],
            box["y"] + (r + 0.5) * box["height"] / IMAGE[0],
        )
        for r, c in (start, end)
    ]
    page.mouse.move(*at[0])
    page.mouse.down()
    page.mouse.move(*at[1], steps=4)
    page.mouse.up()


def colour(page, label):
    return page.eval_on_selector(
        f"#draw-palette [data-label='{label}'] i",
        "one => getComputedStyle(one).backgroundColor.match(/\\d+/g).map(Number)",
    )


def test_what_is_drawn_has_the_labels_colour_and_nothing_else_changes(page):
    before = map_of(page)
    page.click("[data-label='2']")
    page.fill("#draw-size", "1")
    drag(page, (5, 3), (5, 9))
    after = map_of(page)
    changed = (before != after).any(axis=-1)
    assert changed.sum() == 7 and changed[5, 3:10].all()
    assert (after[5, 3:10] == colour(page, 2)).all()
    page.click("#draw-undo")
    np.testing.assert_array_equal(map_of(page), before)
    page.check("[value=fill]")
    page.click("[data-label='3']")
    drag(page, (0, 0), (0, 0))
    assert (map_of(page) == colour(page, 3)).all()
    assert page.locator("#draw-palette button").count() == CLASSES


def test_painting_and_repainting_change_pictures_where_asked(page):
    with page.expect_response("**/api/paint") as painted:
        page.click("#draw-paint")
    wait_for(page, "#draw-status")
    first, before = pictures_of(page, "#draw-pictures"), map_of(page)
    assert len(first) == 4 and page.is_disabled("#draw-repaint")
    page.click("[data-label='4']")
    page.fill("#draw-size", "3")
    drag(page, (1, 1), (2, 4))
    page.click("summary")
    page.fill("#draw-seed", "5")
    with page.expect_response("**/api/paint") as repainted:
        page.click("#draw-repaint")
    wait_for(page, "#draw-status")
    second = pictures_of(page, "#draw-pictures")
    assert len(second) == 4 and page.is_disabled("#draw-repaint")
    assert all(new != old for new, old in zip(second, first, strict=True))

    asked = repainted.value.request.post_data_json
    drawn = (map_of(page) != before).any(axis=-1)
    np.testing.assert_array_equal(np.reshape(asked["changed"], IMAGE), drawn)
    tokens = [np.array(answer.value.json()["tokens"]) for answer in (painted, repainted)]
    moved = (tokens[0] != tokens[1]).any(axis=0)
    (h, w), (height, width) = GRID, IMAGE
    touched = drawn.reshape(h, height // h, w, width // w).any(axis=(1, 3))
    assert touched.any() and moved[touched].any() and not moved[~touched].any()


def test_a_saved_map_opens_again(page, tmp_path):
    page.click("[data-label='1']")
    drag(page, (2, 2), (9, 20))
    drawn = map_of(page)
    with page.expect_download() as download:
        page.click("#draw-save")
    download.value.save_as(tmp_path / "map.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "map.png"))[..., :3], drawn)
    page.click("#draw-clear")
    assert (map_of(page) != drawn).any()
    page.set_input_files("#draw-upload", tmp_path / "map.png")
    page.wait_for_function("!document.querySelector('#draw-undo').disabled")
    page.wait_for_timeout(300)
    np.testing.assert_array_equal(map_of(page), drawn)


def test_unknown_words_are_marked_and_pictures_come_step_by_step(page):
    open_tab(page, "words")
    page.wait_for_selector("#words-suggestions button")
    page.fill("#words-prompt", "a red zeppelin at ni")
    assert page.locator("#words-check .unknown").all_inner_texts() == ["zeppelin", "ni"]
    assert page.locator("#words-suggestions button").all_inner_texts() == ["night"]
    page.click("#words-suggestions button")
    assert page.input_value("#words-prompt") == "a red zeppelin at night "
    page.select_option("#words-steps", "10")
    page.click("#words-paint")
    page.wait_for_selector("#words-pictures img")
    wait_for(page, "#words-status")
    assert len(pictures_of(page, "#words-pictures")) == 4
    page.fill("#words-prompt", "")
    page.click("#words-paint")
    page.wait_for_selector("#error:not([hidden])")
    assert "caption" in page.inner_text("#error")


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray((255 * random_images(1)[0]).astype("uint8")).save(path)
    return path


def test_a_code_is_chosen_and_put_into_the_picture(page, picture):
    open_tab(page, "tokens")
    page.set_input_files("#tokens-file", picture)
    wait_for(page, "#tokens-status")
    assert len(pictures_of(page, "#tokens-pictures")) == 4
    kept = page.get_attribute("#tokens-picture", "src")
    page.click("#tokens-grid", position={"x": 20, "y": 20})
    assert "Row 1, column 1: code" in page.inner_text("#tokens-code")
    code = int(page.inner_text("#tokens-code").split("code ")[1].split(",")[0])
    other = 0 if code else 1
    page.click("#tokens-codebook", position={"x": 18 * other + 9, "y": 9})
    page.click("#tokens-here")
    wait_for(page, "#tokens-status")
    assert f"code {other}," in page.inner_text("#tokens-code")
    assert page.get_attribute("#tokens-picture", "src") != kept
    page.click("#tokens-undo")
    wait_for(page, "#tokens-status")
    page.wait_for_function(
        "kept => document.querySelector('#tokens-picture').src === kept", arg=kept
    )


def test_tokenizers_are_compared_and_a_wrong_file_is_said(page, picture, tmp_path):
    open_tab(page, "compare")
    page.set_input_files("#compare-file", picture)
    wait_for(page, "#compare-status")
    assert page.locator("#compare-table tr").count() == 3
    (tmp_path / "notes.txt").write_text("no picture")
    page.set_input_files("#compare-file", tmp_path / "notes.txt")
    page.wait_for_selector("#error:not([hidden])")
    assert "not an image" in page.inner_text("#error")
