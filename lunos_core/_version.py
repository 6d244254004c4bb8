"""The version of this package, where both its face and its requests find it."""

__version__ = "0.1.0"
