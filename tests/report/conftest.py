"""A browser, and the page of a small run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report import synthetic as s
from tests.report.browsing import CHROMIUM, DRIVER, PATIENCE_S, Browser, made


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    profile = tmp_path_factory.mktemp("profile")
    arguments = ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={profile}")
    for argument in (*arguments, *(("--no-sandbox",) if os.geteuid() == 0 else ())):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_page_load_timeout(PATIENCE_S)
    driver.set_script_timeout(PATIENCE_S)
    yield Browser(driver)
    driver.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("run"), s.run(seeds=(0, 1)))


@pytest.fixture
def opened(browser: Browser, page: Path) -> Browser:
    browser.command("Emulation.clearDeviceMetricsOverride")
    browser.open(page)
    browser.unfold()
    return browser
