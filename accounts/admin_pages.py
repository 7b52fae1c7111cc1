"""The bases of all admin pages: administrators only, secrets never, what the engine owns read-only, acts recorded."""

from typing import Any, ClassVar

from django.contrib.admin.models import LogEntry
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.admin import ModelAdmin

from accounts import journal
from accounts.caller import caller_of
from accounts.tenancy import everyone

_HIDDEN = ("sealed", "secret", "password", "hash")


def shown_fields(model: type[Model]) -> list[str]:
    """All columns of a model but those that hold secrets."""
    return [field.name for field in model._meta.fields if not any(word in field.name for word in _HIDDEN)]


class RecordedAdmin(ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    """Pages of one model. Works in the unscoped view: an administrator operates the whole installation."""

    list_per_page = 50
    show_full_result_count = False

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        with everyone():
            return _rendered(super().changelist_view(request, *args, **kwargs))

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        with everyone():
            return _rendered(super().changeform_view(request, *args, **kwargs))

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        with everyone():
            return _rendered(super().delete_view(request, *args, **kwargs))

    def history_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        with everyone():
            return _rendered(super().history_view(request, *args, **kwargs))

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Any]":
        # Inside everyone() only: outside of it this raises, as everywhere.
        rows: QuerySet[Any] = self.model._default_manager.all()
        return rows

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> LogEntry:
        self._record(request, "admin.added", obj)
        logged: LogEntry = super().log_addition(request, obj, message)
        return logged

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> LogEntry:
        self._record(request, "admin.changed", obj, what=message if isinstance(message, str) else _changed(message))
        logged: LogEntry = super().log_change(request, obj, message)
        return logged

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        for obj in queryset:
            self._record(request, "admin.deleted", obj)
        return super().log_deletions(request, queryset)

    def _record(self, request: HttpRequest, event: str, obj: Any, **details: Any) -> None:
        caller = caller_of(request)
        journal.record(
            event, user_id=request.user.pk, resource_type=obj._meta.model_name, resource_id=obj.pk, details=details,
            ip=caller.ip, user_agent=caller.user_agent,
        )


class ReadOnlyAdmin(RecordedAdmin):
    """Rows that only the system itself writes."""

    list_display: ClassVar[Any] = ("__str__",)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return shown_fields(self.model)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return shown_fields(self.model)

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def _changed(message: Any) -> list[str]:
    """The labels of the fields that a change touched, from Django's own message of it; never their values."""
    return [label for part in message for label in part.get("changed", {}).get("fields", [])]


def _rendered(response: HttpResponse) -> HttpResponse:
    """Templates read rows while they render: that must happen inside the view's scope."""
    render = getattr(response, "render", None)
    return render() if callable(render) else response
