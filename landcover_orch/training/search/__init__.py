"""Hyperparameter search: a study of trials, and its page."""
