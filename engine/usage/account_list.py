"""The list of open accounts on a host that answers OCSP: a JSON file, `[metering].accounts`.

On a public host the feed brings it; on the CA host the commands that open and close accounts write it. It says how
accounts are recognised, and holds nothing that would let anybody pass for one: tokens are there as SHA-256.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from engine.errors import InputRejected
from engine.home import write_private
from engine.store.relying_party_accounts import RelyingPartyAccount


def _network(text: str) -> str:
    ip_network(text)  # a ValueError becomes pydantic's
    return text


class ListedAccount(BaseModel):
    """An account as those who answer know it; the same fields as in the feed's listing."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    token_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None
    address_ranges: list[Annotated[str, AfterValidator(_network)]]
    monthly_quota: Annotated[int, Field(ge=0)] | None


_LIST = TypeAdapter(list[ListedAccount])


def write_account_list(path: Path, accounts: Sequence[RelyingPartyAccount]) -> None:
    """Write the list of open accounts; by rename, so that a reader has the old one or the new one."""
    listed = [
        ListedAccount(
            name=account.name,
            token_sha256=None if account.token_sha256 is None else account.token_sha256.hex(),
            address_ranges=list(account.address_ranges),
            monthly_quota=account.monthly_quota,
        )
        for account in accounts
    ]
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(path, _LIST.dump_json(listed))


def read_account_list(path: Path) -> list[ListedAccount]:
    """Read the list; where there is none yet, nobody has an account.

    Raises:
        InputRejected: the file is no such list, or cannot be read.
    """
    try:
        return _LIST.validate_json(path.read_bytes())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputRejected(
            "the list of accounts cannot be read", place=str(path), value=error.strerror
        ) from error
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise InputRejected("this is no list of accounts", place=str(path), rule=str(fault["msg"])) from error
