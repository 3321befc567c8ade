"""Label settings: vector or raster format, columns, and table of covers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from landcover_orch.legend import IGNORE_NAME
from landcover_orch.settings import Settings


class Values(Settings):
    """Table of covers of polygons, a row each: SIOSE's T_VALORES."""

    layer: str = Field(default="T_VALORES", description="the table, in the file of the polygons")
    polygon: str = Field(default="ID_POLYGON", description="column that names the polygon, as `labels.id` does")
    cover: str = Field(default="ID_COBERTURA", description="column of the cover: its number or label")
    percent: str = Field(default="SUPERF_POR", description="column of the cover's percentage of the polygon")
    ancestors: str = Field(
        default="ID_ANCESTROS",
        description="column of the composites that hold the cover, outermost first; the composites' own rows do not "
        "count, their members do",
    )


class Component(Settings):
    """Component raster: one of those that together hold each pixel's covers."""

    code: str = Field(description="pattern below `root` of the raster of covers, GeoTIFF or ENVI")
    percent: str | None = Field(default=None, description="pattern of the raster of its percentages; empty: 100")
    table: str | None = Field(
        default=None, description="pattern of the text file of lines 'cover,value'; empty: values are the covers"
    )


class Labels(Settings):
    """Label settings: how labels are read."""

    kind: Literal["vector", "raster", "rgb", "components"] = Field(
        default="vector",
        description="how labels arrive: polygons, one band of codes, colour-coded RGB, or rasters of covers and their "
        "percentages (`components`; `tiles.label` is then the raster that says where they lie)",
    )
    layer: str | None = Field(
        default=None,
        description="layer of a vector file, or a pattern as SAR_*_T_COMBINADA that one layer matches; empty: its only",
    )
    attribute: str | None = Field(default=None, description="column of a vector file that holds the source code")
    content: Literal["code", "siose", "largest", "values"] = Field(
        default="code",
        description="what the column holds: a code of the legend; a SIOSE label; the largest cover alone, by number "
        "or label; or nothing, for the covers stand in the table `values`",
    )
    id: str | None = Field(
        default=None, description="column that names a polygon, in messages and products; empty: the feature's number"
    )
    values: Values = Field(default=Values(), description="the table of covers, where `content` is values")
    corrections: str | None = Field(
        default=None,
        exclude=True,  # its features count in the fingerprints of the tiles they lie on, its name in none
        description="pattern below `root` of a vector file of corrected polygons, with the columns of the labels, one "
        "a tile or one for all; it need not be there. One with the `id` of a polygon that it overlaps replaces this "
        "polygon, any other is drawn over what lies below. They are drawn on the orthophoto: a tile's `shift` moves "
        "the labels, never their corrections",
    )
    components: tuple[Component, ...] = Field(
        default=(), description="the rasters of kind `components`, from the first component to the last"
    )
    unlabelled: str = Field(
        default=IGNORE_NAME, description="what a pixel without a label means: 'ignore', or a class name"
    )
    area_tolerance: float = Field(
        default=0.05,
        gt=0,
        le=1,
        description="fraction by which a code's area in polygons and raster may differ",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Labels:
        conflicts = {
            f"content {self.content!r} is for polygons (kind vector)": self.composite and self.kind != "vector",
            "content 'values' needs `id`, the column that the table names polygons by": self.content == "values"
            and not self.id,
            "kind 'components' needs `components`": self.kind == "components" and not self.components,
            "`corrections` are polygons, for labels of kind vector": bool(self.corrections) and self.kind != "vector",
            "`corrections` hold covers in their column, which content 'values' reads from a table": bool(
                self.corrections
            )
            and self.content == "values",
            "`components` are for kind 'components'": self.kind != "components" and bool(self.components),
        }
        if any(conflicts.values()):
            raise ValueError("; ".join(text for text, met in conflicts.items() if met))
        return self

    @property
    def composite(self) -> bool:
        """Whether polygons may hold several covers, for the legend's `composites` to decide on."""
        return self.content != "code"
