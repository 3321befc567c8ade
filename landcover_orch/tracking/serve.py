"""Model script: MLflow runs it to load a registered model; the weights and the contract are its artifacts."""

from landcover_orch.tracking import serve

serve()
