"""What every operation of the API may answer besides what it names itself, said once for the published schema."""

from typing import Any

from desproject.rate_limits import EXEMPT

_TOO_LARGE = ("413", "The body is larger than the API takes.")
_NOT_JSON = ("415", "The body is no JSON.")
_LIMITED = ("429", "Too many requests, of everybody or of the caller; `retry_after` seconds are to be waited.")
_AWAY = ("503", "Something that the answer needs, like the database, is away; `retry_after` says when to try again.")


def add_common_answers(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A post-processing hook of the schema's generator; what an operation says itself stays."""
    for path, operations in result["paths"].items():
        for method, operation in operations.items():
            common = [_AWAY]
            if method in {"post", "put", "patch", "delete"}:
                common += [_TOO_LARGE, _NOT_JSON]
            if not EXEMPT.fullmatch(f"{method.upper()} {path}"):
                common.append(_LIMITED)
            for status, meaning in common:
                operation["responses"].setdefault(status, _error(meaning))
    return result


def _error(meaning: str) -> dict[str, Any]:
    shape = {"$ref": "#/components/schemas/ErrorAnswer"}
    return {"description": meaning, "content": {"application/json": {"schema": shape}}}
