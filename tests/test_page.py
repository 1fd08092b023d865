"""The comparison page in a real browser: what is seen, moved, toggled and named there, and that it loads nothing."""

import io
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from deblur_cli.evaluation.compare import Comparison, Marked, compare_finished
from deblur_cli.evaluation.measures import build_measures
from deblur_cli.evaluation.page.writing import page_picture, write_page
from deblur_cli.metrics import METRICS
from deblur_cli.pictures.regions import Region

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium")
MEASURES = build_measures(METRICS[:2])  # psnr and ssim
HEIGHT, WIDTH = 90, 160
DESKTOP, PHONE = (820, 700), (360, 640)


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    if CHROMIUM is None:
        pytest.skip("needs chromium: make system")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@dataclass
class Opened:
    """A page in the browser, what it asked the network for, and what it complained about."""

    page: "Page"
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def pane(self, index: int = 0) -> np.ndarray:
        """(H, W, 3) pixels of a pane as it is on the screen."""
        return self._pixels(index, "(pane) => [pane]")

    def seen(self, index: int = 0) -> np.ndarray:
        """The same of the picture in it, as far as it is to be seen."""
        return self._pixels(index, "(pane) => [pane, pane.querySelector('.picture')]")

    def _pixels(self, index: int, elements: str) -> np.ndarray:
        box = self.page.evaluate(
            f"""(index) => {{
                const boxes = ({elements})(document.querySelectorAll(".pane")[index]).map((one) => one.getBoundingClientRect());
                const [x, y] = ["left", "top"].map((side) => Math.round(Math.max(...boxes.map((box) => box[side]))));
                const [right, bottom] = ["right", "bottom"].map((side) => Math.round(Math.min(...boxes.map((box) => box[side]))));
                return {{ x, y, width: right - x, height: bottom - y }};
            }}""",
            index,
        )
        with Image.open(io.BytesIO(self.page.screenshot(clip=box))) as picture:
            return np.asarray(picture.convert("RGB"))

    def view(self, name: str) -> None:
        self.page.click(f"[data-view={name}]")


@pytest.fixture
def open_page(browser, tmp_path) -> Iterator[Callable[..., Opened]]:
    """Opens a page of these comparisons; in the end it must have asked for no other file, and complained of nothing."""
    opened: list[Opened] = []

    def open_page(*comparisons, regions=(), size=DESKTOP, touch=False, title="a page", **words) -> Opened:
        path = tmp_path / "page.html"
        pictures = [page_picture(comparison, regions) for comparison in comparisons]
        write_page(path, pictures, title=title, overwrite=True, **words)
        page = browser.new_page(viewport={"width": size[0], "height": size[1]}, has_touch=touch)
        found = Opened(page=page)

        def record(route: "Route") -> None:
            found.requests.append(route.request.url)
            route.continue_() if route.request.url.startswith("file:") else route.abort()

        page.route("**/*", record)
        found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
        found.page.on("console", lambda message: found.complaints.append(message.text))
        found.page.goto(path.as_uri())
        wait_until_drawn(found.page)
        opened.append(found)
        return found

    yield open_page
    for found in opened:
        assert found.requests == [(tmp_path / "page.html").as_uri()]
        assert not found.complaints
        found.page.close()


def wait_until_drawn(page: "Page") -> None:
    """Waits in the page itself: `wait_for_function` evaluates its text again and again there, which the page's policy forbids."""
    page.evaluate(
        "() => Promise.all([...document.querySelectorAll('#stage img')].map((image) => image.decode()))"
    )


def flat(value: int) -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), value, dtype=np.uint8)


def dotted(row: int, column: int) -> np.ndarray:
    """Dark and four times as large, with a bright spot: where it is on the screen tells scale and place."""
    picture = np.full((4 * HEIGHT, 4 * WIDTH, 3), 40, dtype=np.uint8)
    picture[4 * row : 4 * row + 16, 4 * column : 4 * column + 16] = 255
    return picture


def comparison(
    blurry: np.ndarray | None = None,
    sharp: np.ndarray | None = None,
    name: str = "one.png",
    **results: np.ndarray,
) -> Comparison:
    return compare_finished(
        results or {"first": flat(100), "second": flat(180)},
        name=name, blurry=blurry, sharp=sharp, measures=MEASURES,
    )  # fmt: skip


def bright_box(pixels: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, width and height of what is bright."""
    rows, columns = np.nonzero(pixels.min(axis=-1) > 200)
    return int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1


def share_of(pixels: np.ndarray, value: int) -> float:
    return float((np.abs(pixels.astype(int) - value).max(axis=-1) <= 2).mean())


def test_the_divider_can_be_dragged_and_shows_what_is_on_either_side(open_page) -> None:
    opened = open_page(comparison())
    opened.page.add_style_tag(content=".tag, .handle::before, .handle::after { display: none }")
    box = opened.page.locator(".pane").bounding_box()
    middle = box["y"] + box["height"] / 2
    assert share_of(opened.seen(), 100) == pytest.approx(0.5, abs=0.05)
    assert share_of(opened.seen(), 180) == pytest.approx(0.5, abs=0.05)
    mouse = opened.page.mouse
    mouse.move(box["x"] + box["width"] / 2, middle)
    mouse.down()
    mouse.move(box["x"] + box["width"] * 0.4, middle)
    mouse.move(box["x"] + box["width"] * 0.2, middle)
    mouse.up()
    mouse.move(box["x"] + box["width"] * 0.9, middle)  # it does not follow a pointer that is up
    seen = opened.pane()
    assert share_of(seen[100:-100, 100 : int(box["width"] * 0.2) - 2], 100) == 1
    assert share_of(seen[100:-100, int(box["width"] * 0.2) + 2 : -100], 180) == 1
    assert opened.page.get_attribute(".handle", "aria-valuenow") == "20"


def test_the_divider_is_a_slider_for_the_keyboard(open_page) -> None:
    opened = open_page(comparison())
    handle = opened.page.locator("[role=slider]")
    opened.page.add_style_tag(content=".tag, .handle::before, .handle::after { display: none }")
    handle.focus()
    for keys, expected in [
        (["ArrowRight"] * 5, 60), (["ArrowLeft"] * 10, 40), (["PageUp"], 50), (["Home"], 0), (["ArrowLeft"], 0),
        (["End"], 100), (["PageDown"], 90),
    ]:  # fmt: skip
        for key in keys:
            opened.page.keyboard.press(key)
        assert handle.get_attribute("aria-valuenow") == str(expected)
    assert share_of(opened.pane()[100:-100, 100:-120], 100) == 1  # the other side begins further to the right
    assert "first" in handle.get_attribute("aria-label")
    assert "second" in handle.get_attribute("aria-label")


def test_the_pictures_on_either_side_can_be_chosen_and_swapped(open_page) -> None:
    opened = open_page(comparison(blurry=flat(20), sharp=flat(240)))
    page = opened.page
    assert page.locator("#left option").all_inner_texts() == ["blurred", "first", "second", "sharp"]
    page.select_option("#left", label="second")
    page.select_option("#right", label="sharp")
    wait_until_drawn(page)
    seen = opened.seen()
    half = seen.shape[1] // 2
    assert share_of(seen[:, : half - 40], 180) > 0.9
    assert share_of(seen[:, half + 40 :], 240) > 0.9
    page.click("#swap")
    wait_until_drawn(page)
    assert share_of(opened.seen()[:, : half - 40], 240) > 0.9
    assert page.locator("#captions strong").all_inner_texts() == ["sharp", "second"]


def test_zoom_and_pan_are_in_step_in_every_pane(open_page) -> None:
    pictures = {name: dotted(30, 50) for name in ("first", "second", "third")}
    opened = open_page(comparison(blurry=dotted(30, 50), **pictures))
    opened.view("side")
    page = opened.page
    wait_until_drawn(page)
    panes = page.locator(".pane")
    assert panes.count() == 4
    before = bright_box(opened.pane())
    box = panes.nth(2).bounding_box()
    # the wheel turns over the bright pixel of the third pane: that stays where it is
    page.mouse.move(box["x"] + before[0] + before[2] / 2, box["y"] + before[1] + before[3] / 2)
    for _ in range(4):
        page.mouse.wheel(0, -120)
    page.wait_for_selector("#stage.zoomed")
    after = [bright_box(opened.pane(index)) for index in range(4)]
    assert len(set(after)) == 1
    assert after[0][2] > 2 * before[2]
    assert after[0][0] + after[0][2] / 2 == pytest.approx(before[0] + before[2] / 2, abs=2)
    assert after[0][1] + after[0][3] / 2 == pytest.approx(before[1] + before[3] / 2, abs=2)
    page.mouse.down()
    page.mouse.move(box["x"] + before[0] + 30, box["y"] + before[1] + 20)
    page.mouse.up()
    moved = [bright_box(opened.pane(index)) for index in range(4)]
    assert len(set(moved)) == 1
    assert moved[0][0] > after[0][0] + 15
    assert moved[0][2:] == after[0][2:]


def test_two_fingers_zoom_in_step(open_page) -> None:
    opened = open_page(comparison(first=dotted(45, 80), second=dotted(45, 80)), size=PHONE, touch=True)
    opened.view("side")
    page = opened.page
    box = page.locator(".pane").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    devtools = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        touched = [{"x": left, "y": top, "id": index} for index, (left, top) in enumerate(points)]
        devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touched})

    before = page.inner_text("#zoom")
    touch("touchStart", (x - 10, y))
    touch("touchStart", (x - 10, y), (x + 10, y))
    for apart in (20, 30, 40):
        touch("touchMove", (x - apart, y), (x + apart, y))
    touch("touchEnd")
    assert page.inner_text("#zoom") != before
    places = page.locator(".picture").evaluate_all("(all) => all.map((one) => one.style.transform)")
    assert len(set(places)) == 1
    scales = [int(text.rstrip(" %")) for text in (before, page.inner_text("#zoom"))]
    assert scales[1] / scales[0] == pytest.approx(4, rel=0.1)


def test_keys_enlarge_reduce_and_show_the_whole(open_page) -> None:
    opened = open_page(comparison())
    page = opened.page

    def percent() -> int:
        return int(page.inner_text("#zoom").rstrip(" %"))

    whole = percent()
    page.keyboard.press("+")
    page.keyboard.press("+")
    assert percent() == pytest.approx(whole * 1.5**2, abs=1)
    page.keyboard.press("-")
    assert percent() == pytest.approx(whole * 1.5, abs=1)
    page.keyboard.press("0")
    assert percent() == whole
    page.keyboard.press("-")
    assert percent() == whole  # never smaller than what fits


def test_space_flickers_whether_pressed_or_held(open_page) -> None:
    opened = open_page(comparison())
    page = opened.page
    page.keyboard.press(" ")  # from the divider's view: the right picture
    assert page.get_attribute("[data-view=flicker]", "aria-pressed") == "true"
    wait_until_drawn(page)
    whole = opened.seen()[60:]  # below the name
    assert share_of(whole, 180) == 1
    page.keyboard.press(" ")
    assert share_of(opened.seen()[60:], 100) == 1
    page.keyboard.down(" ")
    assert share_of(opened.seen()[60:], 180) == 1
    page.wait_for_timeout(450)
    page.keyboard.up(" ")
    assert share_of(opened.seen()[60:], 100) == 1
    page.click(".pane")
    assert share_of(opened.seen()[60:], 180) == 1


def test_space_still_presses_a_button_that_the_keyboard_has_reached(open_page) -> None:
    opened = open_page(comparison())
    opened.page.focus("[data-view=difference]")
    opened.page.keyboard.press(" ")
    assert opened.page.get_attribute("[data-view=difference]", "aria-pressed") == "true"


def test_the_difference_is_amplified_and_nothing_where_pictures_are_equal(open_page) -> None:
    changed = flat(100)
    changed[20:40, 30:60] = (103, 100, 90)
    opened = open_page(comparison(first=flat(100), second=changed, third=flat(100)))
    page = opened.page
    opened.view("difference")
    page.wait_for_selector("#difference")
    drawn = page.evaluate(
        "() => { const canvas = document.querySelector('canvas');"
        " return [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]; }"
    )
    pixels = np.array(drawn).reshape(HEIGHT, WIDTH, 4)[:, :, :3]
    expected = np.abs(changed.astype(int) - 100) * 8
    assert np.array_equal(pixels, expected)
    mean = np.abs(changed.astype(int) - 100).mean()
    assert f"mean {mean:.2f}, greatest 10" in page.inner_text("#difference")
    page.select_option("#gain", "32")
    page.wait_for_selector("#difference:has-text('32 times')")
    assert share_of(opened.seen(), 0) < 1
    page.select_option("#right", label="third")
    page.wait_for_selector("#difference:has-text('no pixel differs')")
    assert share_of(opened.seen(), 0) == 1


def test_a_region_button_jumps_there_and_every_pane_shows_it(open_page) -> None:
    region = Region(100, 50, 30, 30)
    picture = flat(40)
    region.crop(picture)[...] = 255
    opened = open_page(comparison(first=picture, second=picture), regions=[Marked(region=region, why="here")])
    opened.view("side")
    opened.page.click("#regions button")
    boxes = [bright_box(opened.pane(index)) for index in range(2)]
    pane = opened.page.locator(".pane").first.bounding_box()
    assert len(set(boxes)) == 1
    left, top, width, height = boxes[0]
    assert height == pytest.approx(0.8 * pane["height"], rel=0.05)
    assert left + width / 2 == pytest.approx(pane["width"] / 2, abs=3)
    assert top + height / 2 == pytest.approx(pane["height"] / 2, abs=3)


def test_a_tiny_picture_grows_by_a_whole_factor_without_smoothing(open_page) -> None:
    tiny = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    opened = open_page(compare_finished({"first": tiny, "second": tiny}))
    opened.view("flicker")
    wait_until_drawn(opened.page)
    opened.page.add_style_tag(content=".tag { display: none }")
    seen = opened.seen()
    factor = int(opened.page.inner_text("#zoom").rstrip(" %")) // 100
    assert factor > 8
    assert np.array_equal(seen, tiny.repeat(factor, axis=0).repeat(factor, axis=1))


def test_the_pictures_that_gained_least_come_first_and_the_list_leads_to_each(open_page) -> None:
    sharp, blurry = flat(100), flat(120)
    results = {"better": flat(101), "worst": flat(160), "worse": flat(125), "same": flat(120)}
    made = [
        comparison(blurry=blurry, sharp=sharp, name=name, result=pixels) for name, pixels in results.items()
    ]
    unknown = comparison(name="unknown", result=flat(1), other=flat(2))
    opened = open_page(unknown, *made)
    expected = ["worst", "worse", "same", "better", "unknown"]
    page = opened.page
    assert [text.split(" ")[0] for text in page.locator("#picture option").all_inner_texts()] == expected
    assert page.locator("tbody th").all_inner_texts() == expected
    loss = 20 * math.log10(20 / 60)
    assert f"({loss:+.2f} dB)" in page.locator("#picture option").first.inner_text()
    assert share_of(opened.seen()[:, -100:], 160) == pytest.approx(1, abs=0.1)
    page.keyboard.press("n")
    page.keyboard.press("n")
    wait_until_drawn(page)
    assert page.locator("tr[aria-current=true]").inner_text().startswith("same")
    page.click("tbody button:text('better')")
    wait_until_drawn(page)
    assert share_of(opened.seen()[:, -100:], 101) == pytest.approx(1, abs=0.1)
    assert page.input_value("#picture") == "3"


def test_scores_and_gains_stand_beneath_with_the_best_marked_and_the_metrics_explained(open_page) -> None:
    opened = open_page(
        comparison(blurry=flat(120), sharp=flat(100), good=flat(110), bad=flat(130)),
        subtitle="some data, split val", notes={"good": "weights good.safetensors"},
    )  # fmt: skip
    opened.view("side")
    captions = opened.page.locator(".caption").all_inner_texts()
    assert "PSNR 22.11 dB" in captions[0]  # 20 log10(255 / 20)
    assert "PSNR 28.13 dB ★ +6.02" in captions[1]
    assert "PSNR 18.59 dB -3.52" in captions[2]
    assert captions[3].strip() == "sharp"
    text = opened.page.inner_text("body")
    assert METRICS[0].summary in text
    assert "weights good.safetensors" in text
    assert "some data, split val" in text
    assert "in full size, 160x90 px" in text


def test_names_are_shown_and_never_run(open_page) -> None:
    nasty = "<img src=x onerror=hacked=1></script><script>hacked=1</script>{{js}}"
    made = compare_finished(
        {nasty: flat(100), nasty + "2": flat(120)}, name=nasty, sharp=flat(100), measures=MEASURES
    )
    opened = open_page(
        made,
        regions=[Marked(region=Region(0, 0, 9, 9), why=nasty)],
        title=nasty,
        subtitle=nasty,
        notes={nasty: nasty},
    )
    page = opened.page
    for view in ("slider", "side", "flicker", "difference"):
        opened.view(view)
    assert page.evaluate("typeof hacked") == "undefined"
    assert page.title() == nasty
    assert page.inner_text("h1") == nasty
    assert page.locator("tbody th").inner_text() == nasty
    assert page.locator("#left option").first.inner_text() == nasty
    assert page.locator("#regions button").inner_text() == nasty
    assert page.locator("img[src=x]").count() == 0


def test_nothing_can_be_loaded_even_if_something_tried(open_page) -> None:
    opened = open_page(comparison())
    refused = opened.page.evaluate(
        """() => new Promise((resolve) => {
            const found = [];
            document.addEventListener("securitypolicyviolation", (event) => {
                found.push(event.effectiveDirective);
                if (found.length === 3) resolve(found);
            });
            new Image().src = "https://example.org/a.png";
            fetch("https://example.org/b").catch(() => {});
            document.head.append(Object.assign(document.createElement("script"), { src: "https://example.org/c.js" }));
        })"""
    )
    assert sorted(refused) == ["connect-src", "img-src", "script-src-elem"]
    opened.complaints.clear()  # the browser says what it refused


def test_on_a_phone_nothing_sticks_out_and_text_can_be_read(open_page) -> None:
    long = "a_rather_long_name_of_a_model_that_has_no_place_to_break.photo"
    pictures = [
        comparison(
            blurry=flat(120), sharp=flat(100), name=f"{long}/{index}", **{long: flat(90), "b": flat(111)}
        )
        for index in range(2)
    ]
    opened = open_page(
        *pictures, regions=[Marked(region=Region(0, 0, 9, 9), why="blurred and sharp differ most")], size=PHONE, touch=True,
        title=long, notes={long: long * 3},
    )  # fmt: skip
    page = opened.page
    for view in ("slider", "side", "flicker", "difference"):
        opened.view(view)
        width = page.evaluate("document.scrollingElement.scrollWidth")
        assert width <= PHONE[0], f"{view} is {width} px wide"
        sizes = page.evaluate(
            "() => [...document.querySelectorAll('body *')]"
            ".filter((one) => one.checkVisibility() && [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))"
            ".map((one) => parseFloat(getComputedStyle(one).fontSize))"
        )
        assert min(sizes) >= 14
        heights = page.locator(".bars button:visible, .bars select:visible").evaluate_all(
            "(all) => all.map((one) => one.getBoundingClientRect().height)"
        )
        assert min(heights) >= 40  # a fingertip
        assert page.locator(".pane").first.bounding_box()["width"] > 150


def test_scores_keep_their_picture_beside_them_on_a_phone(open_page) -> None:
    many = {f"a_model_of_some_length_{index}": flat(90) for index in range(4)}
    opened = open_page(comparison(blurry=flat(120), sharp=flat(100), name="one", **many), size=PHONE)
    opened.page.evaluate("document.querySelector('.scroll').scrollLeft = 400")
    assert opened.page.evaluate("document.querySelector('.scroll').scrollLeft") == 400
    left, top = opened.page.evaluate(
        "() => { const cell = document.querySelector('tbody th'); cell.scrollIntoView({ block: 'center', inline: 'nearest' }); const box = cell.getBoundingClientRect(); return [box.left, box.top]; }"
    )
    assert 0 <= left < 20
    assert (
        opened.page.evaluate(
            "([x, y]) => document.elementFromPoint(x, y).closest('th').textContent", [left + 20, top + 10]
        )
        == "one"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_in_the_dark(browser, tmp_path, scheme) -> None:
    write_page(tmp_path / "page.html", [page_picture(comparison(sharp=flat(90)))], title="colours")
    page = browser.new_page(color_scheme=scheme)
    page.goto((tmp_path / "page.html").as_uri())
    ink, paper = page.evaluate(
        "() => [getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    luminance = [np.mean([int(part) for part in text[4:-1].split(",")]) for text in (ink, paper)]
    assert (luminance[0] > luminance[1]) == (scheme == "dark")
    assert abs(luminance[0] - luminance[1]) > 150
    page.close()


@pytest.mark.usefixtures("browser")
def test_the_command_writes_a_page_that_works(
    open_page, run, identity, photo_file, tmp_path, browser
) -> None:
    Image.open(photo_file).save(tmp_path / "sharp.png")
    ran = run(
        "compare", photo_file, "-m", identity.weights["identity"], "--reference", tmp_path / "sharp.png",
        "-o", tmp_path / "out.html", env=identity.env,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    page = browser.new_page()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(Path(tmp_path / "out.html").as_uri())
    wait_until_drawn(page)
    assert page.locator("#left option").all_inner_texts() == [
        "blurred",
        "identity (identity.safetensors)",
        "sharp",
    ]
    assert "PSNR inf dB" in page.inner_text("#captions")
    assert [url for url in requests if not url.startswith("data:")] == [(tmp_path / "out.html").as_uri()]
    page.close()
