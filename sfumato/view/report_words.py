"""Numbers, names and parts of a report to HTML, as people read them."""

import math
from html import escape

__all__ = ["duration", "said_count", "said_number", "said_percent", "section", "text"]


def section(name: str, title: str, body: str) -> str:
    """A part of the page with its heading, which names it."""
    return f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">{title}</h2>{body}</section>'


def said_number(value: object, digits: int) -> str:
    """A number with its thousands apart; a dash for what is none."""
    if isinstance(value, int | float) and math.isfinite(value):
        return f"{value:,.{digits}f}"
    return "–"


def said_count(value: object) -> str:
    """A whole number with its thousands apart; a dash for what is none."""
    return f"{value:,}" if isinstance(value, int) else "–"


def said_percent(share: float | None) -> str:
    """A share of one, in percent; a dash for none."""
    return "–" if share is None else f"{100 * share:.1f} %"


def text(value: object) -> str:
    """Anything as text that is no HTML."""
    return escape(str(value), quote=True)


def duration(seconds: float) -> str:
    """Seconds as people say them: 8.3 s, 3 min 5 s, 1 h 2 min."""
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole // 60 % 60} min"
