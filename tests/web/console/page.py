"""A page as a person meets it: inputs by name with their attributes, texts by id, nothing else."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

_VOID = {"input", "meta", "link", "img", "br"}


@dataclass
class Input:
    tag: str
    attributes: dict[str, str | None]
    options: list[str] = field(default_factory=list)
    selected: str | None = None

    @property
    def value(self) -> str | None:
        if self.tag == "select":  # the first one, as browsers do
            return self.selected if self.selected is not None else next(iter(self.options), None)
        return self.attributes.get("value")


class Page(HTMLParser):
    """``Page(answer).inputs["params.period"].attributes["min"]``; of inputs of one name, the first."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.inputs: dict[str, Input] = {}
        self.tags: list[str] = []
        self.texts: dict[str, str] = {}
        self.labels: dict[str, str] = {}
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self.source = answer.content.decode()
        self.feed(self.source)
        assert not self._open, f"left open: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append(tag)
        if tag in {"input", "select", "textarea"}:
            self._newest = Input(tag, attributes)
            self.inputs.setdefault(str(attributes["name"]), self._newest)
        if tag == "option":
            value = str(attributes["value"])
            self._newest.options.append(value)
            if "selected" in attributes:
                self._newest.selected = value
        if tag not in _VOID:
            self._open.append((tag, attributes))

    def handle_endtag(self, tag: str) -> None:
        opened, _ = self._open.pop()
        assert opened == tag, f"</{tag}> closes <{opened}>"

    def handle_data(self, data: str) -> None:
        for tag, attributes in self._open:
            if name := attributes.get("id"):
                self.texts[name] = self.texts.get(name, "") + data
            if tag == "label" and (owner := attributes.get("for")):
                self.labels[owner] = self.labels.get(owner, "") + data

    def error(self, name: str) -> str:
        """What is said under an input to be wrong with it, by the way that a screen reader takes."""
        attributes = self.inputs[name].attributes
        assert attributes.get("aria-invalid") == "true", f"{name} is not marked as wrong"
        ids = str(attributes["aria-describedby"]).split()
        return next(self.texts[each] for each in ids if each.endswith("-error"))

    def filled(self, **changes: str) -> dict[str, str]:
        """What the browser would post, with some values changed; ``__`` stands for a dot."""
        values = {
            name: each.value or "" for name, each in self.inputs.items()
            if each.attributes.get("type") != "checkbox" or "checked" in each.attributes
        }  # fmt: skip
        return values | {name.replace("__", "."): value for name, value in changes.items()}
