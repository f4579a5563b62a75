"""The errors that a user may see: what was wrong, where, and the next step."""

from __future__ import annotations


class LeanboardError(Exception):
    """Base of every error that is meant for the user; printed without a traceback."""

    exit_code = 1


class ConfigError(LeanboardError):
    """The configuration asks for something that does not exist or does not fit."""

    exit_code = 2


class UnsupportedError(LeanboardError):
    """A technique cannot be applied here; becomes a record with status ``unsupported``."""


class ArmError(LeanboardError):
    """An arm failed while it ran; becomes a record with status ``failed``."""


class OutOfMemoryError(ArmError):
    """An arm needs more memory than there is."""


class FetchError(LeanboardError):
    """A model or data package could not be had, or is not what was pinned."""


class RecordError(LeanboardError):
    """A record or a store cannot be read: corrupt, of a newer schema, or tampered with."""


class MissingDependencyError(LeanboardError):
    """An optional package is needed; the message names the extra that brings it."""
