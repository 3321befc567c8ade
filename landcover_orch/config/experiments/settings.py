"""What all parts of a recipe share: frozen models, chosen by `name`, or by their bare name alone."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Plain values that never change and know every key they may have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def words(self) -> str:
        """The name, then what differs from the defaults, as tables show it: 'unet, width 16'."""
        fields = {key: field for key, field in type(self).model_fields.items() if key != "name"}
        plain = str(getattr(self, "name", "")).replace("_", " ")
        changed = [_words(key, getattr(self, key)) for key in fields if getattr(self, key) != fields[key].default]
        return ", ".join(part for part in (plain, *changed) if part)

    def said(self) -> dict[str, object]:
        """What was set, as a file says it: without defaults, but with the name of each part."""
        chosen = [key for key in type(self).model_fields if key in self.model_fields_set or key == "name"]
        return {key: _said(getattr(self, key)) for key in sorted(chosen, key=lambda key: key != "name")}


def _said(value: object) -> object:
    if isinstance(value, Settings):
        return value.said()
    return [_said(part) for part in value] if isinstance(value, tuple) else value


def _words(key: str, value: object) -> str:
    key = key.replace("_", " ")
    if isinstance(value, bool):
        return key if value else f"no {key}"
    return f"{key} ({value.words()})" if isinstance(value, Settings) else f"{key} {_plain(value)}"


def _plain(value: object) -> str:
    return "/".join(map(str, value)) if isinstance(value, tuple) else str(value)


def named(value: object) -> object:
    """`adam` for {name: adam}: a part of a recipe whose defaults suffice is its name alone."""
    return {"name": value} if isinstance(value, str) else value
