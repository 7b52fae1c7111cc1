"""The time that `/api/metrics` takes inside the server, with 1000 instances running in an engine that publishes.

Three figures, each of calls in this process without HTTP and middleware: the handler alone (``metrics_handler``), the
view once its caller is known (``metrics_view``), and with the check of the caller's token, which asks the database
(``metrics_view_with_token``). Floor: a plain Django view that answers the same bytes.
"""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.urls import resolve
from rest_framework.request import Request
from rest_framework.test import force_authenticate

from accounts.models import User
from desproject.metrics_api import InstallationMetricsView
from tests.bench import world
from tests.bench.api_reads import token_of_an_administrator
from tests.bench.children import Child
from tests.bench.measure import Result
from tests.bench.simulator import Simulator
from tests.bench.turns import Work, in_turns

INSTANCES = 1000
_PATH = "/api/metrics"


def run(seconds: float) -> Iterator[Result]:
    token = token_of_an_administrator()
    administrator = User.objects.get()
    with ExitStack() as stack:
        simulator = stack.enter_context(Simulator())
        names = [f"trader-{number}" for number in range(world.users_for(INSTANCES))]
        world.create_instances(asyncio.run(world.create_keys(simulator, names)), INSTANCES)
        stack.enter_context(Child("-m", "tests.bench.engine_process", str(INSTANCES))).ready()
        view, handler = resolve(_PATH).func, InstallationMetricsView().get
        with_token = RequestFactory().get(_PATH, HTTP_AUTHORIZATION=f"Bearer {token}")
        known = RequestFactory().get(_PATH)
        force_authenticate(known, administrator)
        request = Request(known)
        works: dict[str, Work] = {
            "metrics_handler": lambda: handler(request),
            "metrics_view": lambda: _get(view, known),
            "metrics_view_with_token": lambda: _get(view, with_token),
        }
        body = _get(view, with_token).content
        plain = lambda: HttpResponse(body, content_type="application/json")  # noqa: E731
        *ours, floor = (replace(each, value=each.p50) for each in in_turns([*works.values(), plain], seconds))
    for name, des in zip(works, ours, strict=True):
        yield Result(name, "µs", des, floor, time_unit="µs", about={"instances": INSTANCES})


def _get(view: object, request: HttpRequest) -> HttpResponse:
    answer: HttpResponse = view(request)  # type: ignore[operator]
    assert answer.status_code == 200, answer.content
    return answer
