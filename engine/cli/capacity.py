"""`sealmint capacity`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from engine.capacity.arithmetic import MARGIN, Answer, Question, answer_question
from engine.capacity.document import SweepDocument, load_document, newest_sweep
from engine.capacity.host_figures import LastRun, answers_kept, last_run, limit_of_host
from engine.capacity.rate_curve import RateCurve
from engine.capacity.working_time import DailyWindow, parse_deadline
from engine.cli.opening import open_context
from engine.cli.output import DEFAULT_HOME, HomeOption, JsonOption, people, table, write_json
from engine.cli.runs import load_policy_named
from engine.clock import TAIPEI


def capacity(
    cards: Annotated[int, typer.Option(min=1, help="New cards to issue.")],
    by: Annotated[str, typer.Option(help="Until when: 2026-11-29T18:00, or Sunday 18:00, Taipei time.")],
    home: HomeOption = DEFAULT_HOME,
    certificates_per_card: Annotated[
        int, typer.Option(min=1, max=10, help="Certificates on each card: signing and encryption.")
    ] = 2,
    nonce_answers: Annotated[
        float, typer.Option(min=0, help="Live OCSP answers a second, all the time.")
    ] = 0.0,
    policy: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Policy file or shipped policy: run windows and rate cap."),
    ] = None,
    sweep: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A sweep.json; the newest of the home without it.")
    ] = None,
    margin: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of what was measured that is not planned with.")
    ] = MARGIN,
    as_json: JsonOption = False,
) -> None:
    """Say whether so many cards are done by a deadline, with how many sessions, and what binds.

    From the newest sweep of the token: certificates, OCSP answers ahead for the new cards, their renewal, and live
    answers. Arithmetic only; the token is not asked.
    """
    with open_context(home) as context:
        document = load_document(sweep or newest_sweep(context.home.capacity))
        curve = RateCurve(document.rates())
        run = last_run(context)
        rules = None if policy is None else load_policy_named(policy)
        now = context.clock.now()
        question = Question(
            now=now,
            deadline=parse_deadline(by, now),
            cards=cards,
            certificates_per_card=certificates_per_card,
            nonce_answers=nonce_answers,
            answers_kept=answers_kept(context),
            answer_validity=timedelta(hours=context.configuration.ocsp.validity_hours),
            windows=() if rules is None else tuple(DailyWindow(w.opens, w.closes) for w in rules.run_windows),
            rate_cap=None if rules is None else rules.rate_cap,
            host_certificates=limit_of_host(run, curve),
            margin=margin,
        )
    found = answer_question(question, curve)
    if as_json:
        write_json(_document(question, found, document, run))
    else:
        _tell(question, found, document, run)


def _document(
    question: Question, found: Answer, document: SweepDocument, run: LastRun | None
) -> dict[str, object]:
    return {
        **asdict(found),
        "deadline": question.deadline,
        "cards": question.cards,
        "certificates_per_card": question.certificates_per_card,
        "nonce_answers_per_second": question.nonce_answers,
        "answers_kept": question.answers_kept,
        "rate_cap": question.rate_cap,
        "margin": question.margin,
        "host_certificates_per_second": question.host_certificates,
        "last_run": None if run is None else asdict(run),
        "sweep": {
            "measured_at": document.measured_at,
            "plateau_per_second": document.plateau_per_second,
            "knee_sessions": document.knee_sessions,
            "still_growing": document.still_growing,
        },
    }


def _tell(question: Question, found: Answer, document: SweepDocument, run: LastRun | None) -> None:
    people.print(_verdict(question, found))
    for sentence in _grounds(question, found, document, run):
        people.print(f"- {sentence}")
    shares = [(name.replace("_", "-"), f"{rate:,.1f}") for name, rate in asdict(found.shares).items()]
    people.print()
    people.print(table("Signatures a second while the run works", ("lane", "a second"), shares))


def _verdict(question: Question, found: Answer) -> str:
    work = f"{question.cards:,} cards ({found.certificates:,} certificates) by {_local(question.deadline)}"
    if not found.possible:
        late = "never" if found.ends_at is None else f"on {_local(found.ends_at)}"
        return f"Not possible: {work}. It would end {late}; what binds is the {found.binding}."
    sessions = "session" if found.sessions == 1 else "sessions"
    text = f"Possible: {work}, with {found.sessions} {sessions} in all, on {_local(found.ends_at_with_sessions)}."
    return f"{text} With all that the token does it ends on {_local(found.ends_at)}; what binds is the {found.binding}."


def _grounds(question: Question, found: Answer, document: SweepDocument, run: LastRun | None) -> list[str]:
    grounds = [
        f"The run may sign for {timedelta(seconds=round(found.working_seconds))} until then"
        + (
            f", so it needs {found.certificates_per_second_needed:,.1f} certificates a second; "
            if found.certificates_per_second_needed is not None
            else "; "
        )
        + f"{found.certificates_per_second:,.1f} can be made.",
        f"The token: {document.plateau_per_second:,.0f} signatures a second, knee at {document.knee_sessions} sessions "
        f"(swept {_local(document.measured_at)}); {question.margin:.0%} of it is left as a margin.",
        "For each card its certificates and one OCSP answer ahead; besides, live answers and the renewal of the "
        f"answers of {question.answers_kept + question.cards:,} cards.",
    ]
    if document.still_growing:
        grounds.append("The sweep saw no plateau yet: with more sessions the token may do more.")
    if run is None:
        grounds.append("No run was measured on this host: its CPUs are not in this answer.")
    elif question.host_certificates is None:
        grounds.append(
            f"The last run made {run.per_second:,.0f} certificates a second with {run.sessions} sessions, what the "
            "token gives with so many: how much more this host's CPUs could do is not known."
        )
    else:
        grounds.append(
            f"This host: {run.per_second:,.0f} certificates a second in the last run ({run.sessions} sessions), less "
            "the same margin; an answer counts as half a certificate."
        )
    return grounds


def _local(moment: datetime | None) -> str:
    return "never" if moment is None else f"{moment.astimezone(TAIPEI):%A %Y-%m-%d %H:%M} (Taipei)"
