"""The entry of the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import entry_points

import typer
from typer import rich_utils

from engine.cli.output import EXIT_INTERRUPTED, explain, write_json_error
from engine.errors import SealmintError, the_sealmint_error
from engine.process_hardening import harden

COMMANDS = {
    "init": "initialisation:init",
    "register": "register:app",
    "run": "runs:app",
    "cert": "certificates:app",
    "entity": "entities:app",
    "card-centre": "card_centre:app",
    "crl": "crl:app",
    "audit": "audit:app",
    "ocsp": "ocsp:app",
    "token": "token:app",
    "publish": "publish:app",
    "feed": "feed:app",
    "usage": "usage:app",
    "operator": "operator:app",
    "pool": "pool:app",
    "store": "store:app",
    "backup": "backup:backup",
    "restore": "backup:restore",
    "drill": "backup:drill",
    "check": "check:check",
    "capacity": "capacity:capacity",
}
"""Each command with its module in this room and its name there: a Typer of commands, or one command. A module is
imported when its command is called: all of them together take a second."""

OTHERS = {
    "feed": "sealmint.feed_commands",
    "usage": "sealmint.usage_commands",
    "operator": "sealmint.operator_commands",
}
"""Commands under which the rooms beside this one add theirs, such as `feed serve`, with the group of entry points."""


def command_line(words: Sequence[str] = ()) -> typer.Typer:
    """Return the command line, with every command, or with the one that is called.

    Args:
        words: what the program was called with; names that are no commands bring in all, for the help and the error.
    """
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
    app.callback()(lambda: None)  # with one command it stays a group
    added = {command.name: command for command in entry_points(group="sealmint.commands")}
    named = words[0] if words and (words[0] in COMMANDS or words[0] in added) else None
    for name in [*COMMANDS, *added] if named is None else [named]:
        if name in added:
            app.command(name)(added[name].load())
        else:
            _add(app, name, words[1:] if named else ())
    return app


def _add(app: typer.Typer, name: str, words: Sequence[str]) -> None:
    module, _, attribute = COMMANDS[name].partition(":")
    found = getattr(import_module(f"engine.cli.{module}"), attribute)
    if not isinstance(found, typer.Typer):
        app.command(name)(found)
        return
    own = {command.name for command in found.registered_commands}
    if name in OTHERS and not (words and words[0] in own):
        for other in entry_points(group=OTHERS[name]):
            if other.name not in own:
                found.command(other.name)(other.load())
    app.add_typer(found, name=name)


def main() -> None:
    """Run a command; every error of ours becomes a sentence and an exit code."""
    harden()
    as_json = "--json" in sys.argv
    try:
        status = command_line(sys.argv[1:])(standalone_mode=False)
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
