"""The API by its own description: schemathesis makes requests within it and beside it, and holds answers to it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import hypothesis
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.fuzz.judge import Judge

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]
"""Not that every question in its form is answered: that just one of three parameters is given, the form cannot say."""


def ask_as_described(url: str, judge: Judge, requests: int, seed: int) -> int:
    """Send requests made from the description; return how many.

    Args:
        url: of the web front.
        judge: judges answers besides.
        requests: about how many.
        seed: of the choices.
    """
    schema = schemathesis.openapi.from_url(f"{url}/api/v1/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    sent = 0

    def ask(case: Any) -> None:
        nonlocal sent
        sent += 1
        answer = case.call()
        asked = str(answer.request.url).encode()
        fields = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items()).encode()
        judge.status(answer.status_code, fields, asked)
        judge.content(fields + b"\r\n" + answer.content, asked)
        try:
            case.validate_response(answer, checks=CHECKS)
        except FailureGroup as failures:
            for failure in failures.exceptions:
                judge.findings.add(f"{type(failure).__name__} {failure}", asked)

    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    for operation in operations:
        for mode in modes:
            run = hypothesis.given(case=operation.as_strategy(generation_mode=mode))(ask)
            settings = hypothesis.settings(
                max_examples=max(1, requests // (len(operations) * len(modes))),
                database=None,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            with suppress(Unsatisfiable):  # what takes no parameter cannot be asked wrongly
                hypothesis.seed(seed)(settings(run))()
    return sent
