"""Label review: labels that out-of-fold maps contradict, and change candidates of newer orthophotos."""

VERSION = 15
"""Raised when the same inputs and configuration would give other bytes."""
