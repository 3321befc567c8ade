"""Dataset drafts: a dataset and its legend guessed from the files of a folder, each guess with its reason."""
