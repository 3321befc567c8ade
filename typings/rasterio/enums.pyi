from enum import Enum, IntEnum

class ColorInterp(IntEnum):
    undefined = 0
    gray = 1
    palette = 2
    red = 3
    green = 4
    blue = 5
    alpha = 6

class Interleaving(Enum):
    pixel = "PIXEL"
    line = "LINE"
    band = "BAND"

class MaskFlags(IntEnum):
    all_valid = 1
    per_dataset = 2
    alpha = 4
    nodata = 8

class Resampling(IntEnum):
    nearest = 0
    bilinear = 1
    cubic = 2
    average = 5
    mode = 6
