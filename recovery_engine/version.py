"""The version of this library; the log names it in every decision."""

__version__ = "0.1.0"
