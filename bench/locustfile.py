"""The load of a plan, for locust: `python -m locust -f bench/locustfile.py --headless --plan FILE -u CONNECTIONS`.

`sealmint load` writes the plan and starts this. A user is a connection: it takes the next arrival that is due, sends
it, and takes the next. Arrivals come from the schedule, whatever the users are doing, through a bounded queue; what
finds it full, or waits in it too long, is missed. Latency counts from the moment an arrival was due (decision 0039).

Locust's own figures are fed with the same latencies; the verdict is made of what `bench.load.record` counts.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent  # type: ignore[import-untyped]  # this package ships no types
import orjson
from gevent.queue import Empty, Full, Queue  # type: ignore[import-untyped]  # nor does this part of it
from locust import FastHttpUser, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import LocalRunner, MasterRunner, WorkerRunner

from bench.load.failures import NoAnswer, WrongAnswer
from bench.load.plan import LoadPlan, make_askings
from bench.load.question import HttpAnswer, Question
from bench.load.record import Cell, Record

HEAD_START = 0.5
"""Seconds between the last user being there and the first arrival, so that every process has been told. A guess."""

TELL_SECONDS = 0.25
"""Between two words on progress, and two looks at what was acknowledged. A guess."""

FAR_TOO_LATE = 0.002
"""Seconds below which nobody is put to sleep: the event loop's own resolution is about one."""

BEGIN, FINISHED = "begin", "finished"


class Process:
    """The share of one process.

    Args:
        plan: the load.
    """

    def __init__(self, plan: LoadPlan) -> None:
        self.plan = plan
        self.record = Record()
        self.names = [kind.kind for kind in plan.scenario.kinds]
        self.askings, self.acknowledged = make_askings(plan)
        self.queue: Queue[int] = Queue(max(1, plan.scenario.waiting // plan.processes))
        self.schedule = plan.schedule()
        self.began = float("inf")
        self.in_flight: set[int] = set()
        self.told: dict[str, float] = defaultdict(float)

    def run(self, index: int, at: float) -> None:
        """Hand out this process's arrivals, wait for the last answers, and write down what was counted.

        Args:
            index: of the process.
            at: the beginning, on the monotonic clock that all processes of a host share.
        """
        self.schedule = self.schedule.share(index, self.plan.processes)
        self.began = self.told["began"] = at
        teller = gevent.spawn(self._tell, index)
        for number, due in enumerate(self.schedule.due.tolist()):
            self._wait_until(due)
            self._hand_out(number, due)
        self._wait_for_answers()
        teller.kill()
        self.record.cpu_seconds = time.process_time()
        self.plan.counted(index).write_bytes(orjson.dumps(self.record.as_json()))
        self._write_progress(index)

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.began

    def _wait_until(self, due: float) -> None:
        ahead = due - self.now
        if ahead > FAR_TOO_LATE:
            gevent.sleep(ahead)
        else:
            gevent.sleep(0)  # the users' turn

    def _hand_out(self, number: int, due: float) -> None:
        kind = self.names[self.schedule.kinds[number]]
        self.record.cell(due, kind).offered += 1
        self.told["offered"] += 1
        self.record.lateness.add(self.now - due)
        try:
            self.queue.put_nowait(number)
        except Full:
            self._miss(number, "queue full")

    def _miss(self, number: int, name: str) -> None:
        self._cell(number).missed[name] += 1
        self.told["missed"] += 1

    def _wait_for_answers(self) -> None:
        bound = self.now + self.plan.scenario.patience + self.plan.scenario.timeout
        while (self.in_flight or not self.queue.empty()) and self.now < bound:
            gevent.sleep(0.01)
        while True:
            try:
                number = self.queue.get_nowait()
            except Empty:
                break
            self._miss(number, "too late")
        for number in self.in_flight:
            self._cell(number).errors["unfinished"] += 1

    def _cell(self, number: int) -> Cell:
        return self.record.cell(self.schedule.due[number], self.names[self.schedule.kinds[number]])

    def next_question(self) -> tuple[int, Question]:
        """Wait for the next arrival that becomes a request; it is in flight from then on."""
        while True:
            number = self.queue.get()
            cell, kind = self._cell(number), int(self.schedule.kinds[number])
            if self.now - self.schedule.due[number] > self.plan.scenario.patience:
                self._miss(number, "too late")
                continue
            question = self.askings[kind].question(float(self.schedule.draws[number]), time.time())
            if question is not None:
                self.in_flight.add(number)
                cell.sent += 1
                self.told["sent"] += 1
                return number, question
            cell.cached += 1
            self.told["cached"] += 1

    def finish(self, number: int, question: Question, answer: HttpAnswer | NoAnswer) -> Exception | None:
        """Count what became of an arrival; return why it failed, None where it did not."""
        done = self.now
        self.in_flight.discard(number)
        cell = self._cell(number)
        try:
            if isinstance(answer, NoAnswer):
                raise answer
            cell.verified += question.judge(answer, bool(self.schedule.verified[number]))
        except (NoAnswer, WrongAnswer) as failure:
            is_wrong = isinstance(failure, WrongAnswer)
            (cell.wrong if is_wrong else cell.errors)[failure.name] += 1
            self.told["wrong" if is_wrong else "errors"] += 1
            self.record.add_example(failure.name, failure.detail)
            return failure
        cell.good += 1
        self.told["good"] += 1
        cell.latency.add(done - self.schedule.due[number])
        cell.service.add(answer.came_at - answer.asked_at)
        return None

    def _tell(self, index: int) -> None:
        while True:
            self.acknowledged.read_on()
            self._write_progress(index)
            gevent.sleep(TELL_SECONDS)

    def _write_progress(self, index: int) -> None:
        path = self.plan.progress(index)
        beside = path.with_suffix(".new")
        beside.write_bytes(orjson.dumps(self.told))
        beside.replace(path)


process: Process | None = None


class Connection(FastHttpUser):
    """A connection to each of the two fronts; it has one request on its way."""

    host = "http://127.0.0.1"  # every question has its whole URL
    concurrency = 1  # the default of ten would be ten connections of which nine are idle
    insecure = False
    default_headers = {"User-Agent": "sealmint load"}  # noqa: RUF012 - locust's own attribute

    def __init__(self, environment: Environment) -> None:
        assert process is not None
        self.network_timeout = self.connection_timeout = process.plan.scenario.timeout
        self._kinds = process.names
        super().__init__(environment)

    @task
    def ask(self) -> None:
        """Send the next arrival, and judge the answer."""
        assert process is not None
        number, question = process.next_question()
        kind = self._kinds[process.schedule.kinds[number]]
        asked_at, began = time.time(), time.perf_counter()
        with self.client.request(
            "GET" if question.body is None else "POST",
            question.url,
            name=kind,
            data=question.body,  # type: ignore[arg-type]  # octets are taken, and sent as they are
            headers={"Accept-Encoding": "identity", **question.headers},
            catch_response=True,
            allow_redirects=False,
        ) as response:
            came_at = asked_at + time.perf_counter() - began
            failure = process.finish(number, question, _answer(response, asked_at, came_at))
            due = float(process.schedule.due[number])
            response.request_meta["response_time"] = 1_000 * (process.now - due)
            if failure is None:
                response.success()
            else:
                response.failure(failure)


def _answer(response: Any, asked_at: float, came_at: float) -> HttpAnswer | NoAnswer:
    if not response.status_code:
        raised = getattr(response, "error", None)
        timed_out = isinstance(raised, TimeoutError) or "timed out" in str(raised)
        return NoAnswer("timeout" if timed_out else "connection", repr(raised))
    headers = {name.lower(): value for name, value in (response.headers or {}).items()}
    return HttpAnswer(response.status_code, headers, response.content or b"", asked_at, came_at)


def _add_plan(parser: LocustArgumentParser) -> None:
    parser.add_argument("--plan", required=True, help="The plan that `sealmint load` wrote.")


def _prepare(environment: Environment, **_: object) -> None:
    """Read the plan; from the master (or the only process) comes the word to begin."""
    global process
    assert environment.parsed_options is not None
    plan = LoadPlan.model_validate_json(Path(environment.parsed_options.plan).read_bytes())
    runner = environment.runner
    if isinstance(runner, MasterRunner):
        _lead(environment, runner, plan)
        return
    process = Process(plan)
    if isinstance(runner, WorkerRunner):

        def begin(environment: Environment, msg: Any, **_: object) -> None:
            gevent.spawn(_work, runner, msg.data["at"]).link_exception(_give_up)

        runner.register_message(BEGIN, begin)
    elif isinstance(runner, LocalRunner):

        def begin_alone(user_count: int) -> None:
            gevent.spawn(_work_alone, runner).link_exception(_give_up)

        _listen(environment.events.spawning_complete, begin_alone)


def _lead(environment: Environment, runner: MasterRunner, plan: LoadPlan) -> None:
    left = set(range(plan.processes))

    def begin(user_count: int) -> None:
        if user_count < plan.scenario.connections:
            gevent.spawn(runner.quit)  # a process is lost; whoever started this finds its counts missing
            return
        runner.send_message(BEGIN, {"at": time.monotonic() + HEAD_START})

    def finished(environment: Environment, msg: Any, **_: object) -> None:
        left.discard(msg.data["index"])
        if not left:
            gevent.spawn(runner.quit)

    _listen(environment.events.spawning_complete, begin)
    runner.register_message(FINISHED, finished)


def _work(runner: WorkerRunner, at: float) -> None:
    assert process is not None
    process.run(runner.worker_index, at)
    runner.send_message(FINISHED, {"index": runner.worker_index})


def _work_alone(runner: LocalRunner) -> None:
    assert process is not None
    process.run(0, time.monotonic() + HEAD_START)
    runner.quit()


def _listen(event: Any, listener: Callable[..., None]) -> None:
    """As `event.add_listener(listener)`, which locust leaves untyped."""
    event.add_listener(listener)


def _give_up(greenlet: Any) -> None:
    """A defect here must not leave a load that never ends."""
    gevent.get_hub().handle_error(greenlet, *greenlet.exc_info)
    gevent.get_hub().parent.throw(SystemExit(1))


_listen(events.init_command_line_parser, _add_plan)
_listen(events.init, _prepare)
