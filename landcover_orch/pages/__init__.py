"""HTML pages, charts and pictures for people."""
