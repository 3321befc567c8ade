"""Input validation: everything that is wrong with a dataset, in one list, before anything runs on it."""
