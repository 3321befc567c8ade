from collections.abc import Iterable
from typing import Any

from affine import Affine
from numpy.typing import DTypeLike, NDArray

def rasterize(
    shapes: Iterable[Any],
    out_shape: tuple[int, int] | None = None,
    fill: float = 0,
    out: NDArray[Any] | None = None,
    transform: Affine = ...,
    all_touched: bool = False,
    default_value: float = 1,
    dtype: DTypeLike = None,
    skip_invalid: bool = True,
    **more: Any,
) -> NDArray[Any]: ...
