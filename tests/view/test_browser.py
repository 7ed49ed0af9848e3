"""The watched page itself: it must notice what it is there to notice."""

from collections.abc import Callable

import pytest

from browser import Watched


@pytest.mark.parametrize(
    "script",
    [
        "console.error('oh')",
        "console.warn('oh')",
        "setTimeout(() => { throw new Error('oh') })",
        "fetch('http://192.0.2.1/').catch(() => 0); 0",  # an address kept for documentation
    ],
)
def test_complaints_are_noticed(open_page: Callable[..., Watched], script: str) -> None:
    watched = open_page()
    watched.page.evaluate(script)
    watched.page.wait_for_timeout(50)
    with pytest.raises(AssertionError):
        watched.check()
    watched.complaints.clear()
    watched.requests.clear()
    watched.page.close()
