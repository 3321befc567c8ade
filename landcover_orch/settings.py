"""Base model of all settings: frozen pydantic models, chosen by `name`, or by their bare name alone."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, model_validator


class Settings(BaseModel):
    """Frozen settings that refuse unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _truths_are_no_numbers(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        fields = {key: field.annotation for key, field in cls.model_fields.items()}
        numbers = {key for key, a in fields.items() if mentions(a, int, float) and not mentions(a, bool)}
        return {key: truths_as_text(value) if key in numbers else value for key, value in values.items()}

    def words(self) -> str:
        """Display text: the name, then what differs from the defaults, 'unet, width 16'."""
        fields = {key: field for key, field in type(self).model_fields.items() if key != "name"}
        plain = str(getattr(self, "name", "")).replace("_", " ")
        changed = [_words(key, getattr(self, key)) for key in fields if getattr(self, key) != fields[key].default]
        return ", ".join(part for part in (plain, *changed) if part)

    def explicit_values(self) -> dict[str, object]:
        """Explicit values, as in the file: without defaults, but with the name of each part."""
        chosen = [key for key in type(self).model_fields if key in self.model_fields_set or key == "name"]
        return {key: _plain(getattr(self, key)) for key in sorted(chosen, key=lambda key: key != "name")}


def truths_as_text(value: object) -> object:
    """A value, or a list, whose true and false are texts: pydantic takes them for 1 and 0, and refuses texts."""
    if isinstance(value, list | tuple):
        return [truths_as_text(part) for part in value]
    return str(value).lower() if isinstance(value, bool) else value


def mentions(annotation: object, *types: type) -> bool:
    """Whether an annotation names one of some types anywhere."""
    return annotation in types or any(mentions(inner, *types) for inner in get_args(annotation))


def _plain(value: object) -> object:
    if isinstance(value, Settings):
        return value.explicit_values()
    return [_plain(part) for part in value] if isinstance(value, tuple) else value


def _words(key: str, value: object) -> str:
    key = key.replace("_", " ")
    if isinstance(value, bool):
        return key if value else f"no {key}"
    text = "/".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f"{key} ({value.words()})" if isinstance(value, Settings) else f"{key} {text}"


def named(value: object) -> object:
    """Shorthand `adam` for {name: adam}: a part of an experiment whose defaults suffice is its name alone."""
    return {"name": value} if isinstance(value, str) else value
