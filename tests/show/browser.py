"""A headless Chromium for tests, driven by Selenium; where either is not there, the tests that want it are skipped."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Browser", "started"]

RIGHT, LEFT, UP, DOWN = "\ue014", "\ue012", "\ue013", "\ue015"
HOME, END, TAB, SPACE, SHIFT = "\ue011", "\ue010", "\ue004", "\ue00d", "\ue008"


class Browser:
    """One window: opens pages, presses keys, and knows what the page asked of the network and said on its console."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, file: Path, fragment: str = "") -> None:
        """Load a page anew."""
        self.driver.get("about:blank")
        self.heard()
        self.driver.get(file.as_uri() + fragment)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run JavaScript in the page and return its result."""
        return self.driver.execute_script(script, *arguments)

    def until(self, script: str) -> None:
        """Wait for the page to answer yes."""
        wait = pytest.importorskip("selenium.webdriver.support.wait").WebDriverWait
        wait(self.driver, 20, 0.02).until(lambda driver: driver.execute_script(script))

    def press(self, keys: str) -> None:
        """Press keys, one after the other, where the focus is."""
        self.driver.switch_to.active_element.send_keys(keys)

    def heard(self) -> tuple[list[str], list[str]]:
        """Return what was written to the console, and the addresses that were requested, since this was last asked."""
        told = [entry["message"] for entry in self.driver.get_log("browser")]
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]
        return told, asked

    def protocol(self, command: str, **parameters: Any) -> Any:
        """Send a command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(command, parameters)


def started() -> Iterator[Browser]:
    """Start a browser, hand it out, and end it."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="no Selenium: the extra browser brings it")
    binary, control = _program("chromium", "chromium-browser", "google-chrome"), _program("chromedriver")
    if binary is None or control is None:
        pytest.skip("no Chromium with its chromedriver on the PATH")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1400,900",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(control))
    try:
        yield Browser(driver)
    finally:
        driver.quit()


def _program(*names: str) -> str | None:
    return next((found for name in names if (found := shutil.which(name)) and os.access(found, os.X_OK)), None)
