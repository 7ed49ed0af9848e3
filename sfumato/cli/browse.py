"""An address to the person's browser, where there is a screen to show it on."""

import os
import sys
import threading
import webbrowser
from collections.abc import Mapping
from contextlib import suppress

__all__ = ["has_display", "open_browser"]

_IN_TERMINAL = ("www-browser", "links", "elinks", "lynx", "w3m")  # browsers that would take the terminal


def has_display(environment: Mapping[str, str] = os.environ, platform: str = sys.platform) -> bool:
    """True when a browser that is opened here would be seen by the person who asked."""
    if platform in ("win32", "darwin"):
        return "SSH_CONNECTION" not in environment
    return any(environment.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def open_browser(address: str, patience: float = 0.0) -> bool:
    """Open the address; False when there is no display, or no browser that has windows.

    patience: seconds to wait for a browser that takes its time, of a program that ends then; others need not wait.
    """
    if not has_display():
        return False
    with suppress(webbrowser.Error):  # none is known
        if getattr(webbrowser.get(), "basename", "") in _IN_TERMINAL:
            return False
    opening = threading.Thread(target=webbrowser.open, args=(address,), daemon=True)  # some browsers keep it waiting
    opening.start()
    opening.join(patience)
    return True
