"""The product store: atomic publishing, manifests, fingerprints, costs."""
