"""Synthetic data: a generated landscape with a known ground truth, photographed and labelled."""
