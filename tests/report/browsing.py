"""A page in headless chromium, for tests of what a reader sees and does."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harness.counting.store import write_counted
from harness.records import Record
from harness.report.build import PAGE, build_report
from harness.store import Store
from tests.report import synthetic as s
from tests.report.test_plots import COUNTED

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
IN_A_BROWSER = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None, reason="chromium or chromedriver is not installed"
    ),
    pytest.mark.xdist_group("browser"),
]
"""Marks of a module whose tests open pages."""
PATIENCE_S = 120.0


class Browser:
    """A page in headless chromium."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: Path) -> None:
        """Load a page and wait for its tables and plots."""
        self.driver.get_log("browser")
        self.driver.get_log("performance")
        self.driver.get(path.as_uri())
        self.until(lambda: self("return document.documentElement.dataset.tables === 'ready'"))
        self.until(lambda: self("return document.documentElement.dataset.plots === 'ready'"))

    def unfold(self) -> None:
        """Open everything that is folded."""
        self("for (const part of document.querySelectorAll('main details')) part.open = true")

    def __call__(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def until(self, done: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < end, "the page did not get there"
            time.sleep(0.05)

    def command(self, name: str, **values: object) -> Any:
        return self.driver.execute_cdp_cmd(name, values)

    def draw_all(self) -> None:
        """Bring every chart near the window, as scrolling does."""
        for place in range(self("return document.querySelectorAll('.chart').length")):
            self(
                "document.querySelectorAll('.chart')[arguments[0]].scrollIntoView({behavior: 'instant'})",
                place,
            )
            self.until(
                partial(self, "return Boolean(document.querySelectorAll('.chart')[arguments[0]].data)", place)
            )


def made(folder: Path, records: list[Record]) -> Path:
    store = Store(folder).open()
    for one in records:
        store.write(one, s.samples(one))
    write_counted(folder, COUNTED)
    return build_report(folder).with_name(PAGE)


def visible_rows(browser: Browser, table: str) -> list[list[str]]:
    rows: list[list[str]] = browser(
        "return [...document.querySelectorAll(`#${arguments[0]} tbody tr`)].filter(r => r.offsetParent)"
        ".map(r => [...r.cells].map(c => c.innerText.trim()))",
        table,
    )
    return rows


def click(browser: Browser, selector: str) -> None:
    browser("document.querySelector(arguments[0]).click()", selector)


def narrow(browser: Browser) -> int:
    browser.command(
        "Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=1, mobile=False
    )
    return int(browser("return document.documentElement.scrollWidth"))
