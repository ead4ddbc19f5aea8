"""What the processes of a load are told: a file, so that locust can start them as it likes."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from bench.load.expected_status import Acknowledged, ExpectedStatus
from bench.load.ocsp_questions import Caching, OcspCa, Posting
from bench.load.ocsp_verdict import OcspVerdict
from bench.load.page_questions import CrlFetching, Searching
from bench.load.popularity import Popularity
from bench.load.question import Asking
from bench.load.scenario import Kind, Scenario
from bench.load.schedule import Schedule, make_schedule
from bench.load.targets import Targets
from engine.errors import InputRejected


class LoadPlan(BaseModel):
    """A load.

    Attributes:
        scenario: what it does.
        ocsp: URL of the OCSP responder.
        http: URL of the web front.
        targets: the file of targets.
        directory: where the processes leave what they counted.
        processes: how many there are.
    """

    model_config = ConfigDict(frozen=True)

    scenario: Scenario
    ocsp: str
    http: str
    targets: Path
    directory: Path
    processes: int

    @property
    def file(self) -> Path:
        """Where the plan itself is."""
        return self.directory / "plan.json"

    @property
    def acknowledged(self) -> Path:
        """Where acts are written down when they are acknowledged."""
        return self.directory / "acknowledged.jsonl"

    def counted(self, index: int) -> Path:
        """Where a process leaves what it counted."""
        return self.directory / f"counted-{index}.json"

    def progress(self, index: int) -> Path:
        """Where a process says how far it is."""
        return self.directory / f"progress-{index}.json"

    def schedule(self) -> Schedule:
        """Return the schedule of all processes."""
        wanted = self.scenario
        return make_schedule(
            wanted.curve,
            [kind.weight for kind in wanted.kinds],
            spacing=wanted.arrivals,
            verify=wanted.verify,
            seed=wanted.seed,
        )


class Askings(NamedTuple):
    """What a process asks with."""

    by_kind: list[Asking]
    """In the order of the scenario's kinds."""
    acknowledged: Acknowledged
    """To be read on now and then."""


def make_askings(plan: LoadPlan) -> Askings:
    """Make what a process asks with.

    Raises:
        InputRejected: the targets cannot be read, or have nothing that the scenario asks about.
    """
    targets = Targets(plan.targets)
    acknowledged = Acknowledged(plan.acknowledged)
    wanted = plan.scenario
    expected = ExpectedStatus(targets.head.read_at, acknowledged, wanted.withdrawal_seconds)
    ca = OcspCa(plan.ocsp, targets, OcspVerdict(targets.head.ca, wanted.clock_skew), expected)
    return Askings([_asking(kind, plan, ca) for kind in wanted.kinds], acknowledged)


def _asking(kind: Kind, plan: LoadPlan, ca: OcspCa) -> Asking:
    head, wanted = ca.targets.head, plan.scenario

    def popularity(count: int, what: str) -> Popularity:
        if not count:
            raise InputRejected(f"the targets have no {what}", place=str(plan.targets), rule=kind.kind)
        return Popularity(count, kind.zipf, wanted.seed)

    http = plan.http.rstrip("/")
    match kind.kind:
        case "crl":
            among = popularity(len(head.crl_paths), "CRL")
            return CrlFetching(
                http,
                head.crl_paths,
                among,
                head.ca,
                fetchers=kind.caches,
                clock_skew=wanted.clock_skew,
                seed=wanted.seed,
            )
        case "search":
            return Searching(http, head.searches, popularity(len(head.searches), "searches"))
        case "get":
            among = popularity(len(ca.targets), "certificates")
            return Caching(
                ca,
                among,
                kind.hash_name,
                caches=kind.caches,
                keep_seconds=kind.keep_seconds,
                seed=wanted.seed,
            )
        case "post" | "nonce":
            among = popularity(len(ca.targets), "certificates")
            return Posting(ca, among, kind.hash_name, with_nonce=kind.kind == "nonce")
