"""The tiles: catalogue, checks, previews, and the generated landscape."""
