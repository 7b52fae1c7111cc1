"""Runs instances of outside strategies, each in a process of its own, beside the loop that evaluates the others.

What an instance hasn't been asked yet waits in a short line: bars in their order, of quotes only the newest. One that
raises, hangs, dies, says nonsense or falls behind is stopped by itself; nobody else's line is touched.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from django.conf import settings

from trading.engine import failing
from trading.engine.desk import Desk
from trading.engine.tenant import Tenant
from trading.outside.messages import Acted
from trading.outside.process import OutsideFailed, OutsideProcess
from trading.strategies.contract import HOLD, BarWindow, Params

_LONGEST_LINE = 16


@dataclass(frozen=True, slots=True)
class Instance:
    """Whose process it is, and what it runs."""

    user_id: UUID
    instance_id: UUID
    path: str
    params: Params


@dataclass(frozen=True, slots=True)
class _Question:
    window: BarWindow
    price: float | None
    deliver: Callable[[Acted], None]


@dataclass(slots=True)
class _Runner:
    instance: Instance
    line: deque[_Question] = field(default_factory=deque)
    process: OutsideProcess | None = None
    task: "asyncio.Task[None] | None" = None


class OutsideRunners:
    """All outside instances of an engine."""

    def __init__(self, desk: Desk, tenants: Mapping[UUID, Tenant]) -> None:
        self._desk = desk
        self._tenants = tenants
        self._runners: dict[UUID, _Runner] = {}

    @property
    def processes(self) -> int:
        return sum(runner.process is not None for runner in self._runners.values())

    def follow(self, wanted: Mapping[UUID, Instance]) -> None:
        """Ends the processes of instances that don't run any more, or run something else now."""
        for key, runner in list(self._runners.items()):
            if wanted.get(key) != runner.instance:
                self._drop(key)

    def ask(
        self, instance: Instance, window: BarWindow, price: float | None, deliver: Callable[[Acted], None]
    ) -> None:
        """Puts a question into the instance's line; ``deliver`` gets an action that isn't HOLD."""
        runner = self._runners.get(instance.instance_id)
        if runner is None:
            if len(self._runners) >= settings.CONFIG.strategy_plugin_processes:
                self._stop(instance, OutsideFailed("this engine runs as many outside strategies as it may already"))
                return
            runner = self._runners[instance.instance_id] = _Runner(instance)
        if price is not None and runner.line and runner.line[-1].price is not None:
            runner.line.pop()
        if len(runner.line) >= _LONGEST_LINE:
            self._fail(runner, OutsideFailed(f"fell behind by {_LONGEST_LINE} bars"))
            return
        runner.line.append(_Question(window, price, deliver))
        if runner.task is None:
            runner.task = asyncio.create_task(self._work(runner), name=f"outside-{instance.instance_id}")

    async def _work(self, runner: _Runner) -> None:
        """Asks everything in the line; ends with it, the process stays."""
        try:
            while runner.line:
                question = runner.line.popleft()
                answer = await self._answer(runner, question)
                self._desk.figures["evaluations"] += 1
                if answer.action != HOLD:
                    question.deliver(answer)
        except OutsideFailed as error:
            self._fail(runner, error)
        except OSError as error:  # no process could be started
            self._fail(runner, OutsideFailed(f"its process could not be started: {error}"))
        finally:
            runner.task = None

    async def _answer(self, runner: _Runner, question: _Question) -> Acted:
        config = settings.CONFIG
        if runner.process is None:
            runner.process = await OutsideProcess.start(
                runner.instance.path,
                runner.instance.params.model_dump(mode="json"),
                memory_mib=config.strategy_plugin_memory_mib,
                seconds=config.strategy_plugin_seconds,
            )
        return await runner.process.evaluate(question.window, question.price)

    def _fail(self, runner: _Runner, error: OutsideFailed) -> None:
        self._drop(runner.instance.instance_id)
        self._stop(runner.instance, error)

    def _stop(self, instance: Instance, error: OutsideFailed) -> None:
        if tenant := self._tenants.get(instance.user_id):
            tenant.post(partial(failing.stop_instance, self._desk, tenant, instance.instance_id, error))

    def _drop(self, key: UUID) -> None:
        runner = self._runners.pop(key)
        runner.line.clear()
        self._desk.spawn(_ended(runner), f"end-outside-{key}")

    async def aclose(self) -> None:
        """Ends every process."""
        runners, self._runners = list(self._runners.values()), {}
        await asyncio.gather(*(_ended(runner) for runner in runners))


async def _ended(runner: _Runner) -> None:
    """The task is cancelled only where it waits: its process is killed either way."""
    if runner.task is not None and runner.task is not asyncio.current_task():
        runner.task.cancel()
        await asyncio.wait([runner.task])
    if runner.process is not None:
        await runner.process.end()
