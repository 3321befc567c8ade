"""Training: losses, augmentation, loader, the learning loop, and the product it ends in. Runs on torch alone."""

VERSION = 4
"""Raised when the same inputs and configuration would give other bytes."""
