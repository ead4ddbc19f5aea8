"""The entry of the command line."""

from __future__ import annotations

import os
import sys
from importlib.metadata import entry_points

import typer
from typer import rich_utils

from engine.cli import (
    audit,
    card_centre,
    certificates,
    crl,
    entities,
    feed,
    initialisation,
    ocsp,
    publish,
    register,
    runs,
    token,
    usage,
)
from engine.cli.output import EXIT_INTERRUPTED, explain, write_json_error
from engine.errors import SealmintError, the_sealmint_error
from engine.process_hardening import forbid_cores

app = typer.Typer(
    name="sealmint",
    help=(
        "Certificates for every registered business: planned by policy, signed over a pool of HSM sessions, "
        "every signature accounted for.\n\n"
        "A first run: init, card-centre simulate, run plan, run start, cert export."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.command("init")(initialisation.init)
app.add_typer(register.app, name="register")
app.add_typer(runs.app, name="run")
app.add_typer(certificates.app, name="cert")
app.add_typer(entities.app, name="entity")
app.add_typer(card_centre.app, name="card-centre")
app.add_typer(crl.app, name="crl")
app.add_typer(audit.app, name="audit")
app.add_typer(ocsp.app, name="ocsp")
app.add_typer(token.app, name="token")
app.add_typer(publish.app, name="publish")
app.add_typer(feed.app, name="feed")
app.add_typer(usage.app, name="usage")
# What the rooms beside this one add, such as `serve`, `feed serve` and `usage serve`.
for _group, _parent in (
    ("sealmint.commands", app),
    ("sealmint.feed_commands", feed.app),
    ("sealmint.usage_commands", usage.app),
):
    for _command in entry_points(group=_group):
        _parent.command(_command.name)(_command.load())


def main() -> None:
    """Run a command; every error of ours becomes a sentence and an exit code."""
    forbid_cores()
    as_json = "--json" in sys.argv
    try:
        status = app(standalone_mode=False)
    except (SealmintError, BaseExceptionGroup) as raised:
        error = the_sealmint_error(raised)
        explain(error, as_json)
        status = error.exit_code
    except typer.TyperException as wrong:
        if as_json:
            write_json_error(type(wrong).__name__, wrong.format_message())
        else:
            rich_utils.rich_format_error(wrong)  # type: ignore[arg-type]  # whatever typer raises as such can be shown
        status = wrong.exit_code
    except (KeyboardInterrupt, typer.Abort):
        status = EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = 0
    sys.exit(status or 0)


if __name__ == "__main__":
    main()
