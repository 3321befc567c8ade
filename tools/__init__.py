"""Tools of development: nothing here is installed with the library."""
