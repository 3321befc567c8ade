"""HTML pages, charts and pictures that people look at."""
