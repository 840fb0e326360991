"""How the page reads on a phone, on a desktop and on paper."""

from __future__ import annotations

from pathlib import Path

from tests.report.browsing import IN_A_BROWSER, Browser, narrow, visible_rows

pytestmark = IN_A_BROWSER


def test_nothing_is_wider_than_a_phone(opened: Browser) -> None:
    opened.draw_all()
    try:
        assert narrow(opened) <= 360
    finally:
        opened.command("Emulation.clearDeviceMetricsOverride")


def test_print_has_pictures_and_no_controls(opened: Browser) -> None:
    opened.command("Emulation.setEmulatedMedia", media="print")
    try:
        shown = "return [...document.querySelectorAll(arguments[0])].filter(e => e.offsetParent).length"
        assert opened(shown, "figure.plot > img") == opened(
            "return document.querySelectorAll('figure.plot').length"
        )
        assert opened(shown, ".bar, .copy, .chart, .dt-search") == 0
        opened("dispatchEvent(new Event('beforeprint'))")
        assert opened("return document.querySelectorAll('details:not([open])').length") == 0
        assert len(visible_rows(opened, "videoqa_cost")) == 36
    finally:
        opened.command("Emulation.setEmulatedMedia", media="")


def test_no_label_of_a_chart_lies_on_another(opened: Browser) -> None:
    opened.draw_all()
    texts = """
        return [...document.querySelectorAll('.chart')].map(chart =>
            [...chart.querySelectorAll('.scatterlayer text')].filter(t => t.style.visibility !== 'hidden')
            .map(t => { const b = t.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; }))
    """
    charts = opened(texts)
    assert sum(map(len, charts)) > 10
    for boxes in charts:
        for place, (left, top, right, bottom) in enumerate(boxes):
            for other in boxes[place + 1 :]:
                assert not (left < other[2] and other[0] < right and top < other[3] and other[1] < bottom)


def test_the_contents_can_be_reached_from_anywhere_on_a_phone(browser: Browser, page: Path) -> None:
    browser.command("Emulation.clearDeviceMetricsOverride")
    browser.open(page)
    try:
        narrow(browser)
        browser("scrollTo({top: document.documentElement.scrollHeight / 2, behavior: 'instant'})")
        button = browser.driver.find_element("css selector", ".to-contents")
        assert button.is_displayed()
        button.click()
        links = browser.driver.find_elements("css selector", "#contents a")
        assert all(link.is_displayed() for link in links)
        last = links[-1]
        target = str(last.get_attribute("href")).rpartition("#")[2]
        browser("arguments[0].click()", last)
        assert not browser("return document.getElementById('contents').classList.contains('over')")
        place = (
            "return Math.abs(document.getElementById(arguments[0]).getBoundingClientRect().top) < innerHeight"
        )
        browser.until(lambda: browser(place, target))
    finally:
        browser.command("Emulation.clearDeviceMetricsOverride")


def test_a_link_opens_what_is_folded(browser: Browser, page: Path) -> None:
    browser.open(page)
    folded = "return document.querySelector('#videoqa_cost details').open"
    assert browser(folded) is False
    browser("location.hash = '#videoqa_cost'")
    browser.until(lambda: browser(folded))


def test_a_wide_table_says_that_it_scrolls_and_keeps_its_first_column(opened: Browser) -> None:
    try:
        narrow(opened)
        box = "document.querySelector('#videoqa_cost .dt-layout-table > div')"
        opened.until(lambda: opened(f"return {box}.classList.contains('more-right')"))
        left = f"return {box}.querySelector('tbody td').getBoundingClientRect().left"
        before = opened(left)
        opened(f"{box}.scrollLeft = 1e6")
        opened.until(lambda: not opened(f"return {box}.classList.contains('more-right')"))
        assert opened(f"return {box}.classList.contains('more-left')")
        assert opened(left) == before
    finally:
        opened.command("Emulation.clearDeviceMetricsOverride")


def test_nothing_is_cut_in_print(opened: Browser) -> None:
    try:
        opened.command(
            "Emulation.setDeviceMetricsOverride", width=690, height=970, deviceScaleFactor=1, mobile=False
        )
        opened.command("Emulation.setEmulatedMedia", media="print")
        opened("dispatchEvent(new Event('beforeprint'))")
        wide = "return [...document.querySelectorAll('main table')].map(t => t.offsetWidth).filter(Boolean)"
        widths = opened(wide)
        assert len(widths) > 5
        assert max(widths) <= opened("return document.querySelector('main').clientWidth") + 1
        masks = "return [...document.querySelectorAll('.more-right')].map(e => getComputedStyle(e).maskImage)"
        assert set(opened(masks)) <= {"none"}
    finally:
        opened.command("Emulation.setEmulatedMedia", media="")
        opened.command("Emulation.clearDeviceMetricsOverride")
