from os import PathLike
from typing import Any

def copy(
    src: str | PathLike[str], dst: str | PathLike[str], driver: str | None = None, strict: bool = True, **options: Any
) -> None: ...
