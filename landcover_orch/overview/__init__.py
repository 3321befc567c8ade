"""Index pages: each dataset with its verdict, its ground, its state, and links to every page and file."""
