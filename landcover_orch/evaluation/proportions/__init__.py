"""Class proportions by tile, patch or polygon."""
