"""Distributed training: process group, synchronised batch normalisation, child processes."""
