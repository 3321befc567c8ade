"""Label review: what maps say of the labels they were trained on, and where the ground has changed."""

VERSION = 8
"""Raised when the same inputs and configuration would give other bytes."""
