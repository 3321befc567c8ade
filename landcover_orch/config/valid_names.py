"""Transliteration: the name of a dataset, a tile or an experiment that is closest to a text with other characters.

And a dataset's identifier, the name of its groups, jobs and sensors in Dagster.
"""

from __future__ import annotations

import re
import unicodedata

WITHOUT_DECOMPOSITION = str.maketrans(
    {"ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L"}
    | {"đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "\N{LATIN SMALL LETTER DOTLESS I}": "i"}
)
"""Latin letters that Unicode does not take apart into a letter and its accent."""


def transliterate(text: str, otherwise: str) -> str:
    """ASCII letters, digits, '_' and '-': 'Müllheim 1' is 'Mullheim-1'; `otherwise` where nothing is left.

    Letters lose their accents by Unicode's compatibility decomposition (NFKD); what else there is becomes one '-'.
    Two texts may become one name: whoever names several things keeps them apart.
    """
    plain = unicodedata.normalize("NFKD", text.translate(WITHOUT_DECOMPOSITION))
    letters = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return re.sub(r"[^A-Za-z0-9_-]+", "-", letters).strip("-") or otherwise


def identifier(name: str) -> str:
    """A dataset's name as Dagster wants groups, jobs and sensors to be called: letters, digits and underscores."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name)
