"""Forms as the console shows them: fields that know how they look, and how a posted text becomes an API value.

What is allowed is not decided here: values go to the API's serializers and services, whose errors come back by field
name. Names are the API's own, with a dot into nested objects (``params.period``).
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.http import HttpRequest, HttpResponse
from rest_framework.exceptions import APIException

from desproject.lib.api import as_domain_error
from desproject.lib.errors import DomainError
from trading.console.answers import changed, part, sentence

Values = Mapping[str, str]
Show = Callable[["Form", int], HttpResponse]
# What a field reads that isn't sent on: the API's own default holds then.
ABSENT = object()
# Errors that a corrected form can mend; the others are shown with their own status.
_MENDABLE = {400, 409}
_YES = "confirmed"


@dataclass(frozen=True, slots=True)
class Choice:
    value: str
    label: str
    # Choices of one group stand together under its name.
    group: str = ""


@dataclass(frozen=True)
class Field:
    """One input. ``read`` makes the API's value of the posted text, or leaves the text for the API to refuse."""

    name: str
    label: str
    kind: str = "text"  # text, password, hidden, checkbox, select, textarea
    value: str = ""
    help: str = ""
    choices: Sequence[Choice] = ()
    # More attributes of the input, by name.
    attributes: Mapping[str, str] = field(default_factory=dict)
    required: bool = True
    # A text that is never shown again.
    secret: bool = False
    read: Callable[[str], Any] = str
    errors: Sequence[str] = ()
    form_id: str = ""

    @property
    def id(self) -> str:
        return f"{self.form_id}-{self.name}".replace(".", "-").replace("_", "-")

    @property
    def described_by(self) -> str:
        ids = [f"{self.id}-error"] if self.errors else []
        return " ".join([*ids, *([f"{self.id}-help"] if self.help else [])])

    @property
    def groups(self) -> list[tuple[str, list[Choice]]]:
        found: dict[str, list[Choice]] = {}
        for choice in self.choices:
            found.setdefault(choice.group, []).append(choice)
        return list(found.items())

    def posted(self, data: Values) -> Any:
        """The API's value of what was posted; ABSENT when the API's own default shall hold."""
        if self.kind == "checkbox":
            return self.name in data
        text = data.get(self.name)
        return ABSENT if text is None else self.read(text)

    def kept(self, data: Values) -> str:
        """What is shown when the form comes back."""
        if self.secret:
            return ""
        if self.kind == "checkbox":
            return "on" if self.name in data else ""
        return data.get(self.name, self.value)


@dataclass(frozen=True, slots=True)
class Section:
    """Fields that stand together; ``id`` names what a field's redrawing replaces."""

    fields: Sequence[Field]
    legend: str = ""
    id: str = ""
    help: str = ""


@dataclass(frozen=True)
class Form:
    """A form with the text of its button. ``note`` is what is said of it as a whole."""

    id: str
    action: str
    title: str
    submit: str
    sections: Sequence[Section]
    danger: bool = False
    # What the answer replaces.
    target: str = "this"
    note: str = ""
    good: bool = False

    def __post_init__(self) -> None:
        named = [_with(section, lambda each: replace(each, form_id=self.id)) for section in self.sections]
        object.__setattr__(self, "sections", named)

    @property
    def fields(self) -> Iterator[Field]:
        return (each for section in self.sections for each in section.fields)

    def values(self, data: Values) -> dict[str, Any]:
        """What was posted as the API takes it, nested objects rebuilt from dotted names."""
        values: dict[str, Any] = {}
        for each in self.fields:
            value = each.posted(data)
            outer, _, inner = each.name.partition(".")
            if inner:
                values.setdefault(outer, {})
            if value is not ABSENT:
                (values[outer] if inner else values)[inner or outer] = value
        return values

    def filled(self, data: Values, errors: Mapping[str, Sequence[str]] | None = None) -> "Form":
        """The form with what was typed, and with what is wrong with it under each field."""
        found = errors or {}
        return replace(self, sections=[
            _with(section, lambda each: replace(each, value=each.kept(data), errors=found.get(each.name, ())))
            for section in self.sections
        ])  # fmt: skip

    def show(self, request: HttpRequest, status: int = 200) -> HttpResponse:
        return part(request, "console/parts/form.html", {"form": self}, status=status)

    def refused(self, data: Values, error: DomainError) -> "Form":
        """The form as it was sent, with the error: by field where it names fields of ours, as a note else."""
        names = {each.name for each in self.fields if each.kind != "hidden"}
        own = {name: [sentence(text) for text in texts] for name, texts in error.fields.items() if name in names}
        others = [f"{name}: {text}" for name, texts in error.fields.items() if name not in names for text in texts]
        note = "" if own and not others else "; ".join([sentence(error.message), *others])
        return replace(self.filled(data, own), note=note, good=False)

    def answer(
        self, request: HttpRequest, act: Callable[[dict[str, Any]], HttpResponse], show: Show | None = None
    ) -> HttpResponse:
        """Shows the form, or acts on what was posted; a form that is part of something is shown by ``show``.

        Errors that no other value can mend go on to the caller.
        """
        shown = show or (lambda form, status: form.show(request, status))
        if request.method != "POST":
            return shown(self, 200)
        try:
            return act(self.values(request.POST.dict()))
        except (DomainError, APIException) as raised:
            error = as_domain_error(raised)
            if error.status in {403, 404}:
                raise error from None
            refused = self.refused(request.POST.dict(), error)
            return shown(refused, 422 if error.status in _MENDABLE else error.status)

    def again(self, request: HttpRequest, note: str) -> HttpResponse:
        """The form once more after it was carried out, for the next one."""
        return changed(replace(self, note=note, good=True).show(request))


def _with(section: Section, change: Callable[[Field], Field]) -> Section:
    return replace(section, fields=[change(each) for each in section.fields])


def picked(query: Values, name: str, known: Collection[str], default: str) -> str:
    """What a link or a redrawing names of what is known, else the default."""
    value = query.get(name)
    return value if value is not None and value in known else default


def ask(request: HttpRequest, url: str, question: str, button: str, act: Callable[[], HttpResponse]) -> HttpResponse:
    """Acts once the user has said yes; a question before."""
    if request.method == "POST" and request.POST.get(_YES) == "yes":
        return act()
    return part(request, "console/parts/ask.html", {"url": url, "question": question, "button": button})


def amount(name: str, label: str, **more: Any) -> Field:
    """An exact amount: text with a keyboard for decimals, since number inputs change what was typed."""
    attributes = {"inputmode": "decimal", "autocomplete": "off", "maxlength": "60"}
    return Field(name, label, attributes=attributes, **more)


def optional(text: str) -> Any:
    """Reads an empty text as nothing said."""
    return text or ABSENT


def whole(text: str) -> Any:
    """A whole number, or the text itself for the API to refuse."""
    return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else text
