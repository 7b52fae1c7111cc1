"""What lists may be narrowed by."""

from typing import Any

import django_filters
from django.db.models import QuerySet

from connections.gateways import Side
from trading.order_states import OPEN, OrderStatus


class _ByMarket(django_filters.FilterSet):  # type: ignore[misc]  # django-filter ships no types
    connection = django_filters.UUIDFilter(field_name="connection_id")
    symbol = django_filters.CharFilter(max_length=32)


class OrderFilter(_ByMarket):
    status = django_filters.MultipleChoiceFilter(choices=[(status.value, status.value) for status in OrderStatus])
    side = django_filters.ChoiceFilter(choices=[(side.value, side.value) for side in Side])
    strategy_instance = django_filters.UUIDFilter(field_name="instance_id")
    open = django_filters.BooleanFilter(method="filter_open", help_text="Whether it can still be filled.")

    def filter_open(self, rows: "QuerySet[Any]", name: str, value: bool) -> "QuerySet[Any]":
        return rows.filter(status__in=OPEN) if value else rows.exclude(status__in=OPEN)


class TradeFilter(_ByMarket):
    order = django_filters.UUIDFilter(field_name="order_id")
    side = django_filters.ChoiceFilter(choices=[(side.value, side.value) for side in Side])


class PositionFilter(_ByMarket):
    pass


class BalanceFilter(django_filters.FilterSet):  # type: ignore[misc]
    connection = django_filters.UUIDFilter(field_name="connection_id")
    asset = django_filters.CharFilter(max_length=16)


class SignalFilter(django_filters.FilterSet):  # type: ignore[misc]
    strategy_instance = django_filters.UUIDFilter(field_name="instance_id")
