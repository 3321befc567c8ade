"""What MLflow runs to load a registered model; the weights and the contract lie beside it as artifacts."""

from landcover_orch.tracking import serve

serve()
