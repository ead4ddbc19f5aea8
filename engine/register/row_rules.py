"""The rules for a single row: from the register's fields to a `RegisterRow`, or to the first broken rule."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from engine.errors import InputRejected
from engine.kinds import Kind
from engine.register.business_number import RULE, is_business_number
from engine.register.county import county_of
from engine.register.names import BLANKS, clean_name
from engine.register.roc_date import parse_roc_date
from engine.register.row import RegisterRow, RejectReason, RowRejected
from engine.register.shapes import KIND_FIELD, Shape, shape_of
from engine.register.statuses import find_status

_CAPITAL_LIMIT = 10**18
"""A guess, a thousand times the largest company's; keeps the value in 64 bits."""

_TYPE_NAMES = {int: "a number", float: "a number", bool: "true or false", list: "an array", dict: "an object"}


class _Broken(Exception):
    """A field breaks a rule; caught by `read_row` and turned into a `RowRejected`."""

    def __init__(self, reason: RejectReason, field: str | None, detail: str) -> None:
        self.reason = reason
        self.field = field
        self.detail = detail


def read_row(row_number: int, fields: Mapping[str, object], kind: Kind | None) -> RegisterRow | RowRejected:
    """Apply the rules for one row.

    A blank is an empty text, spaces of any width, null or an absent key.

    Args:
        row_number: the row's place in its file, from 1.
        fields: the row as the file has it, by the register's field names.
        kind: what every row of the file is, or None to go by shape and kind field.

    Returns:
        The row, or the first rule it breaks.
    """
    shape = shape_of(fields)
    if shape is None:
        detail = "none of the fields of a company, branch, business or limited partnership"
        return RowRejected(row_number, None, RejectReason.SHAPE_UNKNOWN, None, detail)
    try:
        return _read(row_number, fields, shape, kind)
    except _Broken as broken:
        identifier = fields.get(shape.identifier)
        readable = identifier if isinstance(identifier, str) and identifier.strip(BLANKS) else None
        return RowRejected(row_number, readable, broken.reason, broken.field, broken.detail)


def _read(row_number: int, fields: Mapping[str, object], shape: Shape, kind: Kind | None) -> RegisterRow:
    row_kind = _kind(fields, shape, kind)
    identifier = _business_number(fields, shape.identifier)
    company_identifier = None
    branch_name = None
    name = _name(fields, shape.name)
    if shape.company_identifier is not None and shape.branch_name is not None:
        company_identifier = _business_number(fields, shape.company_identifier)
        branch_name = _required(_name(fields, shape.branch_name), shape.branch_name)
    else:
        _required(name, shape.name)
    address = _name(fields, shape.address, RejectReason.ADDRESS_NOT_ALLOWED)
    suspended_from, suspended_to = _suspension(fields, shape)
    status, status_code = _status(fields, shape, row_kind)
    return RegisterRow(
        row_number,
        row_kind,
        identifier,
        company_identifier,
        name,
        branch_name,
        status,
        status_code,
        _capital(fields, shape),
        _county(fields, shape, address),
        address,
        _date(fields, shape.set_up_date),
        suspended_from,
        suspended_to,
    )


def _text(fields: Mapping[str, object], field: str) -> str:
    value = fields.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        found = _TYPE_NAMES.get(type(value), "no text")
        raise _Broken(RejectReason.NOT_TEXT, field, f"{_short(value)} is {found}; the field is text")
    return value.strip(BLANKS)


def _required(value: str, field: str) -> str:
    if not value:
        raise _Broken(RejectReason.MISSING_FIELD, field, "blank; the field must be present")
    return value


def _kind(fields: Mapping[str, object], shape: Shape, announced: Kind | None) -> Kind:
    text = _text(fields, KIND_FIELD)
    if not text:
        named = announced or shape.kinds[0]
    else:
        try:
            named = Kind(text)
        except ValueError:
            raise _Broken(RejectReason.KIND_WRONG, KIND_FIELD, f"{text!r} is no kind") from None
    if named not in shape.kinds:
        can_be = " or ".join(kind.value for kind in shape.kinds)
        raise _Broken(
            RejectReason.KIND_WRONG, None, f"said to be {named.value}; its fields are those of {can_be}"
        )
    if announced is not None and named is not announced:
        detail = f"{named.value}; every row of the extract was to be {announced.value}"
        raise _Broken(RejectReason.KIND_WRONG, KIND_FIELD, detail)
    return named


def _business_number(fields: Mapping[str, object], field: str) -> str:
    value = _required(_text(fields, field), field)
    if not is_business_number(value):
        raise _Broken(RejectReason.NUMBER_WRONG, field, f"{_short(value)}: {RULE}")
    return value


def _name(
    fields: Mapping[str, object], field: str, reason: RejectReason = RejectReason.NAME_NOT_ALLOWED
) -> str:
    try:
        return clean_name(_text(fields, field))
    except InputRejected as error:
        raise _broken(reason, field, error) from error


def _date(fields: Mapping[str, object], field: str) -> date | None:
    try:
        return parse_roc_date(_text(fields, field))
    except InputRejected as error:
        raise _broken(RejectReason.DATE_WRONG, field, error) from error


def _suspension(fields: Mapping[str, object], shape: Shape) -> tuple[date | None, date | None]:
    first = None
    for field in shape.suspended_from:
        first = first or _date(fields, field)
    if shape.suspended_to is None:
        return first, None
    last = _date(fields, shape.suspended_to)
    if first is not None and last is not None and last < first:
        detail = f"{last} lies before the first day of the suspension, {first}"
        raise _Broken(RejectReason.DATE_WRONG, shape.suspended_to, detail)
    return first, last


def _status(fields: Mapping[str, object], shape: Shape, kind: Kind) -> tuple[str, str | None]:
    text = _text(fields, shape.status)
    code = _text(fields, shape.status_code) or None
    if not text and code is None:
        raise _Broken(RejectReason.MISSING_FIELD, shape.status, "blank; the field must be present")
    try:
        status = find_status(kind, code, text)
    except InputRejected as error:
        raise _broken(RejectReason.STATUS_CONTRADICTORY, shape.status, error) from error
    if status is None:
        return text, code
    return text or status.text, status.code or code


def _capital(fields: Mapping[str, object], shape: Shape) -> int | None:
    found = None
    for field in shape.capital:
        value = fields.get(field)
        if isinstance(value, str):
            value = value.strip(BLANKS)
            if value.isascii() and value.isdigit() and len(value) <= 20:
                value = int(value)
        if value is None or value == "":
            continue
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _CAPITAL_LIMIT:
            detail = f"{_short(value)}: capital is a whole number of New Taiwan dollars, 0 or more"
            raise _Broken(RejectReason.CAPITAL_WRONG, field, detail)
        found = value
        if found:
            break
    return found


def _county(fields: Mapping[str, object], shape: Shape, address: str) -> str | None:
    if shape.county is None:
        return county_of(address)
    agency = _text(fields, shape.county)
    county = county_of(agency) or county_of(address)
    if county is None:
        detail = (
            f"{_short(agency)}: no county at its beginning, nor of the address (CPS 3.1.4: L of a business)"
        )
        raise _Broken(RejectReason.COUNTY_UNKNOWN, shape.county, detail)
    return county


def _broken(reason: RejectReason, field: str, error: InputRejected) -> _Broken:
    return _Broken(reason, field, str(error))


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
