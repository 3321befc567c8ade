"""The patch classifier with a window a pixel: window by window against one fully convolutional pass, same logits."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from landcover_orch.models.patch_classifier import PatchClassifier

BANDS, CLASSES, WINDOW, WIDTH = 3, 6, 33, 32
STEPS = (1, 2, 4, 8)
REPEATS = 3


def main(shape: tuple[int, int] = (96, 96)) -> dict[str, float]:
    """Prints thousands of pixels a CPU-second, densely and at several steps; gives them with the ratio at step 1."""
    torch.manual_seed(0)
    network = PatchClassifier(BANDS, CLASSES, WINDOW, WIDTH, step=1).eval()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    image = torch.rand(1, BANDS, *shape).contiguous(memory_format=torch.channels_last)
    print(f"patch classifier, window {WINDOW}, width {WIDTH}, {shape[0]} x {shape[1]} px")
    with torch.inference_mode():
        torch.testing.assert_close(network.sliding(image, 1), network.dense(image), rtol=1e-3, atol=1e-4)
        dense = _line("fully convolutional, every pixel", image, lambda: network.dense(image))
        slid = {step: _line(f"sliding, step {step}", image, _sliding(network, image, step)) for step in STEPS}
    ratio = dense / slid[1]
    print(f"  fully convolutional : sliding at step 1  {ratio:.1f}")
    return {"dense": dense, **{f"step {step}": rate for step, rate in slid.items()}, "ratio": ratio}


def _sliding(network: PatchClassifier, image: Tensor, step: int) -> Callable[[], Tensor]:
    return lambda: network.sliding(image, step)


def _line(name: str, image: Tensor, work: Callable[[], Tensor]) -> float:
    """Thousands of pixels a CPU-second, the fastest of several runs, printed beside the multiplications a pixel."""
    pixels = image.shape[-2] * image.shape[-1]
    with FlopCounterMode(display=False) as counter:
        work()
    times = []
    for _ in range(REPEATS):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    rate = pixels / min(times) / 1e3
    millions = counter.get_total_flops() / 2e6 / pixels
    print(f"  {name:34s} {rate:8.1f} kpx a CPU-second   {millions:6.2f} M multiplications a pixel")
    return rate


if __name__ == "__main__":
    main()
