"""Models: networks, one file a family, and the contract that a trained one travels with."""
