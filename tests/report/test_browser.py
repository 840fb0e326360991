"""The page in a browser: what a reader can do with it, and what nobody can do to the reader."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

from harness.records import Failed
from harness.report.style import SHIPPED
from tests.report import synthetic as s
from tests.report.browsing import IN_A_BROWSER, Browser, click, made, narrow, visible_rows

pytestmark = IN_A_BROWSER
EVIL = (
    "<script>window.broken=1</script>",
    "</script><script>window.broken=2</script>",
    '"><img src=x onerror="window.broken=3">',
    "javascript:window.broken=4",
    "&lt;img src=x onerror=window.broken=5&gt;",
    "\u202egnp.exe\u2066 \u2028 ${7*7} {{7*7}} <!--",
    "n" * 10_000,
)


def test_the_page_loads_without_an_error_and_without_the_network(opened: Browser) -> None:
    opened.draw_all()
    assert [entry for entry in opened.driver.get_log("browser") if entry["level"] == "SEVERE"] == []
    asked = [
        message["params"]["request"]["url"]
        for entry in opened.driver.get_log("performance")
        if (message := json.loads(entry["message"])["message"])["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert sum(url.startswith("file:") for url in asked) == 1


def test_a_chip_hides_a_method_in_every_plot_and_every_table(opened: Browser) -> None:
    opened.draw_all()
    shown = """
        const shown = trace => trace.meta.method === arguments[0] && trace.visible !== false;
        return [...document.querySelectorAll('.chart')].flatMap(chart => chart.data.flatMap(
            trace => trace.names ? trace.names : shown(trace) ? ['x'] : []))
    """
    index = opened(
        "return Number([...document.querySelectorAll('.chip')]"
        ".find(chip => chip.innerText === 'casa').dataset.method)"
    )
    rows = """
        return [...document.querySelectorAll('tr, td')].filter(
            part => part.dataset.m === String(arguments[0]) && part.offsetParent).length
    """
    before = opened(shown, index)
    assert "x" in before
    assert "casa" in before
    assert opened(rows, index) > 10
    chip = f'.chip[data-method="{index}"]'
    click(opened, chip)
    after = opened(shown, index)
    assert "x" not in after
    assert "casa" not in after
    assert "vanilla_ca" in after
    assert opened(rows, index) == 0
    assert opened("return document.querySelector(arguments[0]).getAttribute('aria-pressed')", chip) == "false"
    click(opened, f'.entry[data-method="{index}"]')
    assert opened(shown, index) == before


def test_a_double_click_shows_one_method_alone_and_the_keyboard_can_too(opened: Browser) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    chips = opened.driver.find_elements("css selector", ".chip")
    pressed = "return [...document.querySelectorAll('.chip')].map(c => c.getAttribute('aria-pressed'))"
    ActionChains(opened.driver).double_click(chips[1]).perform()
    assert opened(pressed) == ["false", "true", "false"]
    assert {row[0] for row in visible_rows(opened, "videoqa_cost")} == {chips[1].text}
    click(opened, "#all")
    assert opened(pressed) == ["true"] * 3
    chips[2].send_keys(Keys.SPACE)
    assert opened(pressed) == ["true", "true", "false"]
    ActionChains(opened.driver).key_down(Keys.SHIFT).send_keys(Keys.ENTER).key_up(Keys.SHIFT).perform()
    assert opened(pressed) == ["false", "false", "true"]


def test_a_table_sorts_by_number_with_dashes_last_and_filters(opened: Browser) -> None:
    def column(place: int) -> list[str]:
        return [row[place] for row in visible_rows(opened, "videoqa_cost")]

    head = "#videoqa_cost thead th:nth-child(6)"
    opened("document.querySelector('#videoqa_cost select').value = '-1'")
    opened(
        "document.querySelector('#videoqa_cost select').dispatchEvent(new Event('change', {bubbles: true}))"
    )
    for sign in (1, -1):
        click(opened, head)
        opened.until(lambda: opened("return document.querySelector(arguments[0]).ariaSort", head))
        numbers = [text.replace(",", "") for text in column(5)]
        dashes = [text for text in numbers if not re.match(r"\d", text)]
        assert len(dashes) == 1
        assert numbers[-1:] == dashes
        values = [float(text) for text in numbers[:-1]]
        assert values == sorted(values, reverse=sign < 0)
        assert max(values) >= 1000
    field = opened.driver.find_element("css selector", "#videoqa_cost input[type=search]")
    field.send_keys("vanilla")
    opened.until(lambda: set(column(0)) == {"vanilla_ca"})


def test_dark_and_light_can_be_chosen_and_plots_follow(opened: Browser) -> None:
    opened.draw_all()
    look = """
        const line = document.querySelector('.chart').data.find(t => t.meta.method === 0);
        return [getComputedStyle(document.body).backgroundColor, (line.marker || line.line).color,
                document.querySelector('.chart').layout.font.color];
    """
    before = opened(look)
    click(opened, "#theme")
    after = opened(look)
    assert all(one != other for one, other in zip(before, after, strict=True))
    assert opened("return document.getElementById('theme').getAttribute('aria-pressed')") == "true"
    click(opened, "#theme")
    assert opened(look) == before


def test_pointing_at_a_value_tells_it_with_interval_and_unit(opened: Browser) -> None:
    opened.draw_all()
    told = opened(
        "return [...document.querySelectorAll('.chart')].flatMap(c => c.data.flatMap(t => t.hovertext || []))"
    )
    assert any(re.search(r"accuracy 0\.\d\d, 95 % \[0\.\d\d, [01]\.\d\d\]", text) for text in told)
    assert any(re.search(r"time to first token [\d.]+ ms, quartiles \[", text) for text in told)
    assert any("out of memory" in text for text in told)


def test_without_scripts_there_are_pictures_and_whole_tables(browser: Browser, page: Path) -> None:
    browser.command("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.driver.get(page.as_uri())
        pictures = browser.driver.find_elements("css selector", "figure.plot > img")
        assert pictures
        assert all(picture.is_displayed() and picture.get_attribute("alt") for picture in pictures)
        rows = browser.driver.find_elements("css selector", "#videoqa_cost tbody tr")
        assert len(rows) == 36
        assert not browser.driver.find_element("id", "bar").is_displayed()
        assert "Scripts are off" in browser.driver.find_element("id", "still").text
    finally:
        browser.command("Emulation.setScriptExecutionDisabled", value=False)


def test_where_scripts_cannot_unpack_the_pictures_stay_and_one_line_says_so(
    browser: Browser, page: Path
) -> None:
    added = browser.command(
        "Page.addScriptToEvaluateOnNewDocument", source="delete window.DecompressionStream"
    )
    try:
        browser.driver.get(page.as_uri())
        assert "pictures are still" in browser("return document.getElementById('still').textContent")
        assert browser.driver.find_element("css selector", "figure.plot > img").is_displayed()
    finally:
        browser.command("Page.removeScriptToEvaluateOnNewDocument", identifier=added["identifier"])


def test_hostile_names_and_messages_execute_nothing(browser: Browser, tmp_path: Path) -> None:
    records = [
        s.record(s.key(evil, task=EVIL[2], frames=frames), env=s.environment(cpu=evil, commit=evil))
        for evil in EVIL
        for frames in (1, 2)
    ]
    records += [
        s.record(
            s.key(SHIPPED[0], task=EVIL[2], frames=1 + i),
            Failed(failure="error", message=evil, traceback=evil),
        )
        for i, evil in enumerate(EVIL)
    ]
    path = made(tmp_path, records)
    browser.open(path)
    browser.unfold()
    browser.draw_all()
    for chip in browser.driver.find_elements("css selector", ".chip")[:3]:
        browser("arguments[0].click()", chip)
    for field in browser.driver.find_elements("css selector", "input[type=search]"):
        browser("arguments[0].value = '<img'; arguments[0].dispatchEvent(new Event('input'))", field)
    for head in browser.driver.find_elements("css selector", "th"):
        browser("arguments[0].click()", head)
    assert browser("return window.broken === undefined")
    assert (
        browser("return document.querySelectorAll('[onerror], img[src=x], a[href^=javascript]').length") == 0
    )
    refused = [
        entry for entry in browser.driver.get_log("browser") if "Content Security Policy" in entry["message"]
    ]
    assert refused == [], "something tried to run"
    assert EVIL[0] in browser("return document.body.textContent")
    assert "\u202e" not in path.read_text()
    try:
        assert narrow(browser) <= 360
    finally:
        browser.command("Emulation.clearDeviceMetricsOverride")


def test_the_policy_of_the_page_refuses_scripts_that_are_not_its_own(opened: Browser) -> None:
    opened(
        "const s = document.createElement('script'); s.textContent = 'window.broken = 9';"
        "document.body.append(s);"
        "const d = document.createElement('div'); d.innerHTML = '<img src=x onerror=\"window.broken = 8\">';"
        "document.body.append(d)"
    )
    time.sleep(0.2)
    assert opened("return window.broken === undefined")
