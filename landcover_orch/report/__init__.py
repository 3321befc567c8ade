"""Scores of a map against ground truth: matrices, metrics, figures, pages, leaderboard."""
