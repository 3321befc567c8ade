"""Metrics: functions of a confusion matrix."""
