"""Scores of a map against ground truth: matrices, metrics, figures, pages, leaderboard."""

VERSION = 14
"""Raised when the same inputs and configuration would give other bytes."""
