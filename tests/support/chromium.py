"""A headless Chromium for tests: Debian's package or any other that is on the PATH; none is downloaded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
REQUIRED = "SPLADE_TEST_REQUIRE_CHROMIUM"


def find_chromium() -> str:
    """Its path. Without one the tests are skipped, or fail where SPLADE_TEST_REQUIRE_CHROMIUM=1 wants them run."""
    found = os.environ.get("SPLADE_TEST_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        reason = f"no Chromium on the PATH ({', '.join(NAMES)}) and none named by SPLADE_TEST_CHROMIUM; Debian: apt-get install chromium"
        pytest.fail(reason) if os.environ.get(REQUIRED) == "1" else pytest.skip(reason)
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser, until the end of the block."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=find_chromium())
        try:
            yield browser
        finally:
            browser.close()
