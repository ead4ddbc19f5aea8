"""`sealmint publish`: documents, news and notices for the repository (CPS 2.6.1, 8.1.2)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.cli.opening import open_context
from engine.cli.output import DEFAULT_HOME, HomeOption, JsonOption, answer, people, table, write_json
from engine.errors import InputRejected
from engine.publication.content import read_content
from engine.publication.drafts import Document, RevisionNotice
from engine.publication.moments import day_from, in_taipei, moment_from
from engine.publication.pauses import with_pause
from engine.publication.publishing import Publishing
from engine.publication.wording import line, wording
from engine.publication_kinds import DOCUMENTS, PublicationKind, Significance, standings
from engine.store.publications import StoredPublication, publications

app = typer.Typer(
    help="Documents, news and notices for the repository (CPS 2.6.1, 8.1.2).", no_args_is_help=True
)

TitleZhOption = Annotated[str, typer.Option(help="The title in Traditional Chinese.")]
TitleEnOption = Annotated[str, typer.Option(help="The title in English.")]
TextZhOption = Annotated[str, typer.Option(help="The text in Traditional Chinese.")]
TextEnOption = Annotated[str, typer.Option(help="The text in English.")]
EffectiveOption = Annotated[
    str | None,
    typer.Option(
        help="When it takes effect: YYYY-MM-DD, the start of that day in Taipei, or an ISO 8601 time."
    ),
]


@app.callback()
def group() -> None:
    """Documents, news and notices for the repository (CPS 2.6.1, 8.1.2)."""


@app.command("document")
def document(
    kind: Annotated[PublicationKind, typer.Option(help=f"One of: {', '.join(DOCUMENTS)}.")],
    title_zh: TitleZhOption,
    title_en: TitleEnOption,
    file: Annotated[
        Path,
        typer.Option(
            dir_okay=False,
            help="PDF, or plain text (.txt, UTF-8). Of an audit: the result, never the full report (CPS 2.8.1(6)).",
        ),
    ],
    version: Annotated[str | None, typer.Option(help="Needed for the CPS, its addenda and the CP.")] = None,
    significance: Annotated[
        Significance | None,
        typer.Option(
            help="How much a revision of the CPS touches those who rely on it (CPS 8.1.1, 8.1.2.1)."
        ),
    ] = None,
    effective: EffectiveOption = None,
    approved: Annotated[
        str | None,
        typer.Option(
            help="The day of its approval, YYYY-MM-DD: tells whether the 7 days of CPS 8.2 are kept."
        ),
    ] = None,
    text_zh: TextZhOption = "",
    text_en: TextEnOption = "",
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Publish a document; in force at once, unless --effective says later."""
    draft = Document(
        kind,
        wording(title_zh, title_en, text_zh, text_en),
        read_content(file),
        version,
        significance,
        None if effective is None else moment_from(effective, "effective"),
        None if approved is None else day_from(approved, "approved"),
    )
    with open_context(home) as context:
        published = Publishing(context.store, context.clock, context.actor).publish_document(draft)
    _answer(published.row, as_json, days_late=published.days_late)


@app.command("notice")
def notice(
    about: Annotated[PublicationKind, typer.Option(help="What will be revised: cps or cp.")],
    version: Annotated[str, typer.Option(help="The version it will have then.")],
    significance: Annotated[
        Significance,
        typer.Option(help="large: 30 days, comments 15; small: 15 days, comments 7 (CPS 8.1.2)."),
    ],
    title_zh: TitleZhOption,
    title_en: TitleEnOption,
    effective: EffectiveOption = None,
    file: Annotated[
        Path | None, typer.Option(dir_okay=False, help="The draft: PDF, or plain text (.txt, UTF-8).")
    ] = None,
    comments_to: Annotated[
        str | None, typer.Option(help="Where comments are sent (CPS 8.1.2.4); put before both texts.")
    ] = None,
    text_zh: TextZhOption = "",
    text_en: TextEnOption = "",
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Announce a revision of the CPS; without --effective, for as soon as the period allows."""
    words = wording(title_zh, title_en, text_zh, text_en)
    if comments_to is not None:
        address = line(comments_to, "comments-to")
        words = words.with_lines(f"意見回覆：{address}", f"Comments to: {address}")
    draft = RevisionNotice(
        about,
        version,
        significance,
        words,
        None if file is None else read_content(file),
        None if effective is None else moment_from(effective, "effective"),
    )
    with open_context(home) as context:
        stored = Publishing(context.store, context.clock, context.actor).publish_notice(draft)
    _answer(stored, as_json)


@app.command("news")
def news(
    title_zh: TitleZhOption,
    title_en: TitleEnOption,
    text_zh: TextZhOption = "",
    text_en: TextEnOption = "",
    pause_from: Annotated[
        str | None, typer.Option(help="Begin of a planned pause of the service (CPS 2.2.1.4): ISO 8601.")
    ] = None,
    pause_until: Annotated[str | None, typer.Option(help="Its end.")] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Publish a piece of news; with a planned pause, its times stand before both texts."""
    words = wording(title_zh, title_en, text_zh, text_en)
    if pause_from is not None and pause_until is not None:
        words = with_pause(
            words, moment_from(pause_from, "pause-from"), moment_from(pause_until, "pause-until")
        )
    elif pause_from is not None or pause_until is not None:
        missing = "pause-until" if pause_until is None else "pause-from"
        raise InputRejected(
            "half of a pause is missing", place=missing, rule="--pause-from and --pause-until"
        )
    with open_context(home) as context:
        stored = Publishing(context.store, context.clock, context.actor).publish_news(words)
    _answer(stored, as_json)


@app.command("withdraw")
def withdraw(
    publication: Annotated[int, typer.Argument(metavar="ID", help="Its number, from: sealmint publish list")],
    reason: Annotated[str, typer.Option(help="Why; goes into the audit record, not to the public.")],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Withdraw a publication. Of documents, the one before is in force again."""
    with open_context(home) as context:
        stored = Publishing(context.store, context.clock, context.actor).withdraw(publication, reason)
    _answer(stored, as_json)


@app.command("list")
def list_publications(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Show every publication and where it stands now, oldest first."""
    with open_context(home) as context, context.store.read() as connection:
        found = publications(connection)
        standing = standings(found, context.clock.now())
    rows = [{**publication_document(one), "standing": standing[one.id].value} for one in found]
    if as_json:
        write_json({"publications": rows})
        return
    names = (
        "publication",
        "kind",
        "version",
        "standing",
        "published",
        "effective",
        "comments_until",
        "title_zh",
    )
    people.print(table(None, names, [[row[name] for name in names] for row in rows]))


def publication_document(stored: StoredPublication) -> dict[str, object]:
    """Return a publication as commands show it."""
    times = {
        "published": stored.published_at,
        "effective": stored.effective_at,
        "comments_until": stored.comments_until,
        "withdrawn": stored.withdrawn_at,
    }
    return {
        "publication": stored.id,
        "kind": stored.kind,
        "version": stored.version,
        "significance": stored.significance,
        "about": stored.about,
        "title_zh": stored.title_zh,
        "title_en": stored.title_en,
        **{name: None if time is None else in_taipei(time) for name, time in times.items()},
        "sha256": None if stored.content_sha256 is None else stored.content_sha256.hex(),
        "size": stored.content_size,
        "media_type": stored.media_type,
        "file_name": stored.file_name,
    }


def _answer(stored: StoredPublication, as_json: bool, **more: object) -> None:
    shown = {**publication_document(stored), **more}
    answer(shown if as_json else {name: value for name, value in shown.items() if value is not None}, as_json)
