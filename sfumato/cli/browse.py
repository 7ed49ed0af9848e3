"""An address to the person's browser, where there is a screen to show it on."""

import os
import sys
import threading
import webbrowser
from collections.abc import Mapping

__all__ = ["has_display", "open_browser"]


def has_display(environment: Mapping[str, str] = os.environ, platform: str = sys.platform) -> bool:
    """True when a browser that is opened here would be seen by the person who asked."""
    if platform in ("win32", "darwin"):
        return "SSH_CONNECTION" not in environment
    return any(environment.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def open_browser(address: str) -> bool:
    """Open the address, without waiting for it; False when there is no display."""
    if not has_display():
        return False
    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()  # some browsers keep it waiting
    return True
