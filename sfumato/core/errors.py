"""The errors sfumato raises on purpose; whatever else escapes is a bug in sfumato."""

__all__ = ["BackendError", "InputError", "SfumatoError", "SfumatoWarning", "ShapeError"]


class SfumatoError(Exception):
    """Base of every error whose message is meant for the person who caused it."""


class InputError(SfumatoError, ValueError):
    """A file, folder or argument is not what was wanted; the message says what to do."""


class ShapeError(InputError):
    """A tensor has the wrong shape or type."""


class BackendError(SfumatoError, RuntimeError):
    """A backend cannot run here, or cannot do what was asked of it."""


class SfumatoWarning(UserWarning):
    """Something is not as expected, but the work goes on; the message says what was done about it."""
