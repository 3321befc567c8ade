"""Hypercolumns: the sum of enlarged scores is the classifier of the stack."""

from __future__ import annotations

import torch

from landcover_orch.models.hypercolumn import Hypercolumn, enlarge


def test_it_classifies_the_stack_of_enlarged_features() -> None:
    torch.manual_seed(0)
    network = Hypercolumn(bands=3, classes=5, width=4, levels=4).eval()
    image = torch.rand(2, 3, 32, 48)
    with torch.inference_mode():
        features = network.features(image)
        stack = torch.cat([enlarge(level, features[0]) for level in features], dim=1)
        kernels = torch.cat([head.get_parameter("weight") for head in network.heads], dim=1)
        bias = network.heads[0].get_parameter("bias")
        torch.testing.assert_close(network(image), torch.nn.functional.conv2d(stack, kernels, bias))
    assert stack.shape == (2, 4 + 8 + 16 + 32, 32, 48)
