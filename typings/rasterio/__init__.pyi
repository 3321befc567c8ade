# What is used of rasterio, which ships no types.
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Literal, overload

from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Interleaving, MaskFlags, Resampling
from rasterio.windows import Window

__gdal_version__: str
__proj_version__: str
__version__: str

Path = str | PathLike[str]
Indexes = int | Sequence[int] | None

class Env:
    def __init__(self, session: Any = None, **options: Any) -> None: ...
    def __enter__(self) -> Env: ...
    def __exit__(self, *exc: object) -> None: ...

class DatasetBase:
    block_shapes: list[tuple[int, int]]
    bounds: tuple[float, float, float, float]
    colorinterp: tuple[ColorInterp, ...]
    count: int
    crs: CRS | None
    descriptions: tuple[str | None, ...]
    driver: str
    dtypes: tuple[str, ...]
    files: list[str]
    gcps: tuple[list[Any], CRS | None]
    height: int
    indexes: tuple[int, ...]
    interleaving: Interleaving | None
    mask_flag_enums: tuple[list[MaskFlags], ...]
    name: str
    nodata: float | None
    nodatavals: tuple[float | None, ...]
    offsets: tuple[float, ...]
    profile: dict[str, Any]
    res: tuple[float, float]
    scales: tuple[float, ...]
    shape: tuple[int, int]
    transform: Affine
    units: tuple[str | None, ...]
    width: int
    def close(self) -> None: ...
    def overviews(self, bidx: int) -> list[int]: ...
    def tags(self, bidx: int = 0, ns: str | None = None) -> dict[str, str]: ...
    def colormap(self, bidx: int) -> dict[int, tuple[int, int, int, int]]: ...
    def get_tag_item(self, ns: str, dm: str | None = None, bidx: int = 0, ovr: int | None = None) -> str | None: ...

class DatasetReader(DatasetBase):
    def __enter__(self) -> DatasetReader: ...
    def __exit__(self, *exc: object) -> None: ...
    def read(
        self,
        indexes: Indexes = None,
        out: NDArray[Any] | None = None,
        window: Window | None = None,
        masked: bool = False,
        out_shape: tuple[int, ...] | None = None,
        out_dtype: Any = None,
        resampling: Resampling = ...,
        **more: Any,
    ) -> NDArray[Any]: ...
    def read_masks(
        self,
        indexes: Indexes = None,
        out: NDArray[Any] | None = None,
        out_shape: tuple[int, ...] | None = None,
        window: Window | None = None,
        **more: Any,
    ) -> NDArray[Any]: ...
    def dataset_mask(
        self,
        out: NDArray[Any] | None = None,
        out_shape: tuple[int, ...] | None = None,
        window: Window | None = None,
        **more: Any,
    ) -> NDArray[Any]: ...

class DatasetWriter(DatasetReader):
    def __enter__(self) -> DatasetWriter: ...
    def write(self, arr: NDArray[Any], indexes: Indexes = None, window: Window | None = None) -> None: ...
    def set_band_description(self, bidx: int, value: str) -> None: ...
    def update_tags(self, bidx: int = 0, ns: str | None = None, **tags: str) -> None: ...
    def write_colormap(self, bidx: int, colormap: Mapping[int, tuple[int, ...]]) -> None: ...

@overload
def open(
    fp: Path, mode: Literal["r"] = "r", driver: str | Sequence[str] | None = None, **more: Any
) -> DatasetReader: ...
@overload
def open(fp: Path, mode: Literal["w", "w+", "r+"], driver: str | None = None, **more: Any) -> DatasetWriter: ...
