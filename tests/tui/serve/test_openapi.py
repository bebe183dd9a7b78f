"""The description is checked against the server by schemathesis: generated requests, good and bad."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pytest

from tests.tui.serve.serving import Running, serving
from tests.tui.serve.test_serve import engine
from tui.serve.openapi import description
from tui.serve.schema import ChatBody

schemathesis = pytest.importorskip("schemathesis")


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with serving(engine(ctx=100_000), embed=lambda texts: np.ones((len(texts), 4), np.float32)) as running:
        yield running


def test_the_description_is_served_and_names_every_field(server: Running) -> None:
    status, served = server.raw("GET", "/openapi.json")
    assert status == 200 and served == description()
    assert set(served["components"]["schemas"]["ChatBody"]["properties"]) == set(ChatBody.model_fields)


@pytest.mark.slow
def test_generated_requests_hold_to_the_description(server: Running) -> None:
    from hypothesis import HealthCheck, Phase, given, settings

    schema = schemathesis.openapi.from_dict(description())
    seen = set()
    for result in schema.get_all_operations():
        operation = result.ok()

        @settings(
            max_examples=25,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        @given(case=operation.as_strategy())
        def check(case: schemathesis.Case) -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the library's own
                response = case.call(base_url=server.url)
                checks = [
                    schemathesis.checks.not_a_server_error,
                    schemathesis.specs.openapi.checks.status_code_conformance,
                    schemathesis.specs.openapi.checks.response_schema_conformance,
                ]
                case.validate_response(response, checks=checks)
            seen.add((case.path, response.status_code))

        check()
    assert ("/v1/chat/completions", 200) in seen
