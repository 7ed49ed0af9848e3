"""A page to the person's browser, where there is a person with a screen."""

import os
import sys
import webbrowser
from collections.abc import Mapping

__all__ = ["has_screen", "open_page"]

_TEXT = ("www-browser", "links", "elinks", "lynx", "w3m")  # browsers that would take the terminal


def has_screen(environment: Mapping[str, str] | None = None, system: str = sys.platform) -> bool:
    """Whether windows can be opened: somebody sits at the terminal, and on Linux there is a display."""
    environment = os.environ if environment is None else environment
    if not sys.stdout.isatty() or "CI" in environment:
        return False
    if system in ("win32", "darwin"):
        return "SSH_CONNECTION" not in environment
    return bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))


def open_page(url: str) -> bool:
    """Show a page in the browser that the person uses; False when there is none, or nobody would see it."""
    if not has_screen():
        return False
    try:
        browser = webbrowser.get()
        if getattr(browser, "basename", "") in _TEXT:
            return False
        return browser.open(url)
    except (webbrowser.Error, OSError):
        return False
