"""The little of Markdown that our own texts are written in: a heading, paragraphs, numbered points, bold words."""

import re
from collections.abc import Iterator

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

_POINT = re.compile(r"^\d+\. ", re.MULTILINE)


def as_html(text: str) -> SafeString:
    """The text as markup; whatever else stands in it is shown as it is."""
    return format_html_join("\n", "{}", ((_block(block),) for block in re.split(r"\n{2,}", text.strip())))


def _block(block: str) -> SafeString:
    if block.startswith("# "):
        return format_html("<h1>{}</h1>", _words(block[2:]))
    if _POINT.match(block):
        points = ((_words(point),) for point in _POINT.split(block)[1:])
        return format_html("<ol>{}</ol>", format_html_join("\n", "<li>{}</li>", points))
    return format_html("<p>{}</p>", _words(block))


def _words(text: str) -> SafeString:
    return format_html_join("", "{}", ((each,) for each in _bold(" ".join(text.split()))))


def _bold(text: str) -> Iterator[str]:
    for number, piece in enumerate(text.split("**")):
        yield format_html("<strong>{}</strong>", piece) if number % 2 else piece
