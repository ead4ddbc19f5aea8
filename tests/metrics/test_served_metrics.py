"""All processes of a CA host at work, and the one page that has their metrics: what is declared is there."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import orjson
import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from engine.control.client import ask, running_processes
from engine.errors import SealmintError
from engine.metrics.catalogue import FAMILIES, OPERATOR
from engine.metrics.families import Family, Kind
from tests.cli.prepared_home import ROOT, PreparedHome, command, copy_of, environment, wait_until
from tests.metrics.expressions import Asked, everything_asked

VERBS = ("describe", "metrics", "pool", "token-health", "no such verb")
ELSEWHERE = "feed-pull"
"""Runs on a public host (tests/feed_pull)."""

ONLY_WHEN_IT_HAPPENS = frozenset(
    {
        "sealmint_pool_errors_total",
        "sealmint_lanes_parallel_calls",
        "sealmint_lanes_bulk_ceiling_calls",
        "sealmint_lanes_live_p99_seconds",
        "sealmint_run_remaining_seconds",
        "sealmint_feed_lane_failures_total",
        "sealmint_feed_lane_last_success_seconds",
    }
)
"""Families without a sample on a host where all is well."""


@dataclass(frozen=True)
class Scraped:
    """What a busy host told."""

    page: str
    logs: bytes
    answers: bytes
    secrets: tuple[bytes, ...]
    after: str
    """The page when one process had been killed for good."""


def kind_of(process: str) -> str:
    """The kind of a process: its name without numbers."""
    return re.sub(r"(-\d+)+$", "", process)


def samples_of(page: str) -> dict[str, list[Sample]]:
    """The samples of each family, by our name of it."""
    found: dict[str, list[Sample]] = {}
    for family in text_string_to_metric_families(page):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = list(family.samples)
    return found


@contextmanager
def left_running(
    home: PreparedHome, log: Path, *arguments: str, says: bool = True
) -> Iterator[dict[str, str]]:
    """Run a command until the block ends, its log in a file."""
    with (
        log.open("ab") as told,
        subprocess.Popen(
            command(*arguments, "--home", home.path, "--json"),
            env=environment(),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=told,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            yield orjson.loads(process.stdout.readline()) if says else {"pid": str(process.pid)}
        finally:
            process.terminate()


async def all_answers(home: PreparedHome) -> bytes:
    answers = []
    for process in running_processes(home.path / "run" / "control"):
        for verb in VERBS:
            try:
                answers.append(await ask(process, verb))
            except SealmintError as error:
                answers.append({"refused": str(error)})
    return orjson.dumps(answers)


@pytest.fixture(scope="module")
def scraped(prepared: PreparedHome, tmp_path_factory: pytest.TempPathFactory) -> Scraped:
    directory = tmp_path_factory.mktemp("served")
    home, log = copy_of(prepared, directory / "copy"), directory / "log"
    with ExitStack() as opened:

        def run(*arguments: str, says: bool = True) -> dict[str, str]:
            return opened.enter_context(left_running(home, log, *arguments, says=says))

        served = run("serve", "--ocsp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--processes", "1")
        run("feed", "serve", "--listen", "127.0.0.1:0")
        operator = run("operator", "serve", "--listen", "127.0.0.1:0")
        token = Path(operator["token_file"]).read_text().strip()
        client = opened.enter_context(
            httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=120, trust_env=False)
        )

        def page() -> str:
            answer = client.get(f"{operator['operator']}metrics")
            assert answer.status_code == 200, answer.text
            return answer.text

        assert wait_until(lambda: bool(samples_of(page()).get("sealmint_token_test_last_success_seconds")))
        home.hsm.latency("C_Sign", 300_000)  # so that the run is still at work when all have been asked
        run("run", "start", "1", "--workers", "1", says=False)
        client.get(f"{served['http']}healthz")
        client.get(f"{served['ocsp']}MFEw")
        assert wait_until(lambda: 'process="worker-1-1"' in page())
        assert wait_until(lambda: bool(samples_of(page())["sealmint_crl_this_update_seconds"]))
        answers = trio.run(all_answers, home)
        whole = page()
        (worker,) = [one for one in running_processes(home.path / "run" / "control") if one.name == "run-1"]
        subprocess.run(["kill", "-9", str(worker.pid)], check=True)
        assert wait_until(lambda: 'process="run-1"' not in page())
        assert wait_until(lambda: 'process="worker-1-1"' not in page())
        after = page()
        home.hsm.reset()
    pin = (home.path / "secrets" / "token-pin").read_bytes().strip()
    return Scraped(whole, log.read_bytes(), answers, (pin, token.encode()), after)


def present(page: str) -> dict[str, set[str]]:
    """By family, the kinds of processes that have samples of it; "" for the host."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, samples in samples_of(page).items():
        found[name] = {kind_of(sample.labels.get("process", "")) for sample in samples}
    return found


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_every_process_serves_what_is_declared_for_it(scraped: Scraped, family: Family) -> None:
    found = present(scraped.page)
    if family.processes == (ELSEWHERE,):
        return
    assert family.name in found
    if family.name not in ONLY_WHEN_IT_HAPPENS:
        expected = {""} if family.processes == OPERATOR else {*family.processes} - {ELSEWHERE}
        if family.name == "sealmint_web_request_duration_seconds":
            expected -= {"feed-front"}  # nobody has asked it yet
        assert expected <= found[family.name]


def test_kinds_and_labels_are_those_of_the_catalogue(scraped: Scraped) -> None:
    for metric in text_string_to_metric_families(scraped.page):
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        family = FAMILIES[name]
        assert (metric.type, metric.documentation) == (family.kind.value, family.help)
        own = set(family.labels) | (set() if family.processes == OPERATOR else {"process"})
        for sample in metric.samples:
            assert set(sample.labels) - {"le"} == own


def test_buckets_grow_and_the_last_is_the_count(scraped: Scraped) -> None:
    for name, samples in samples_of(scraped.page).items():
        if FAMILIES[name].kind is not Kind.HISTOGRAM:
            continue
        series: dict[tuple[tuple[str, str], ...], list[float]] = defaultdict(list)
        counts = {}
        for sample in samples:
            key = tuple(sorted((label, value) for label, value in sample.labels.items() if label != "le"))
            if sample.name.endswith("_bucket"):
                series[key].append(sample.value)
            elif sample.name.endswith("_count"):
                counts[key] = sample.value
        assert series
        for key, reached in series.items():
            assert reached == sorted(reached)
            assert reached[-1] == counts[key]


@pytest.mark.parametrize("asked", list(everything_asked()), ids=lambda asked: asked.place)
def test_what_dashboard_and_alerts_ask_for_is_served(scraped: Scraped, asked: Asked) -> None:
    names = {sample.name for samples in samples_of(scraped.page).values() for sample in samples}
    names |= ONLY_WHEN_IT_HAPPENS
    assert {name for name, _ in asked.selected} <= names


def test_the_numbers_are_those_of_what_happened(scraped: Scraped) -> None:
    found = samples_of(scraped.page)

    def value(name: str, **labels: str) -> float:
        family = FAMILIES[re.sub("_count$", "", name)].name
        (sample,) = [one for one in found[family] if one.name == name and one.labels == labels]
        return sample.value

    asked = "sealmint_ocsp_request_duration_seconds_count"
    assert value(asked, process="listener-1", method="GET", outcome="malformed-request") == 1
    assert value(asked, process="web", method="GET", outcome="successful") == 0
    assert value("sealmint_runs", state="running") == 1
    assert (
        value("sealmint_run_items", run="1", state="issued")
        + value("sealmint_run_items", run="1", state="pending")
        == 120
    )
    assert value("sealmint_record_readable") == 1


def test_the_values_of_a_dead_process_are_gone(scraped: Scraped) -> None:
    gone = {"run", "worker"}
    assert gone <= {kind for kinds in present(scraped.page).values() for kind in kinds}
    assert not gone & {kind for kinds in present(scraped.after).values() for kind in kinds}


@pytest.mark.cps("6.4.2")
def test_no_secret_in_logs_metrics_and_control_answers(scraped: Scraped) -> None:
    told = (scraped.page.encode(), scraped.logs, scraped.answers)
    for secret in scraped.secrets:
        assert len(secret) >= 6
        assert not any(secret in text for text in told)


def test_every_line_of_the_log_is_json_and_says_whose_it_is(scraped: Scraped) -> None:
    lines = [orjson.loads(line) for line in scraped.logs.splitlines()]
    assert lines
    assert all({"timestamp", "level", "event", "process"} <= line.keys() for line in lines)
    assert {"follower", "live-signer", "token-watch"} <= {line["process"] for line in lines}
