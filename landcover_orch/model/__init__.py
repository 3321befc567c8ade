"""Networks, one file a family, and the contract a trained one travels with."""
