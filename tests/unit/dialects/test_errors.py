"""Every error of ours is one in the words of every API."""

from __future__ import annotations

import pytest

from cowork import errors
from cowork.dialects.errors import ROWS, anthropic_error, openai_error, row_of, row_of_code
from cowork.errors import NOT_STARTED, CoworkError, Internal, InvalidValue, QueueFull

OPENAI_TYPES = {"invalid_request_error", "conflict_error", "rate_limit_error", "server_error"}
ANTHROPIC_TYPES = {
    *("invalid_request_error", "authentication_error", "permission_error", "not_found_error"),
    *("request_too_large", "rate_limit_error", "api_error", "overloaded_error", "timeout_error"),
}


def test_every_error_of_the_tree_has_a_row() -> None:
    kinds = {each for each in vars(errors).values() if isinstance(each, type)}
    raised = {each for each in kinds if issubclass(each, CoworkError) and "code" in vars(each)}
    assert ROWS.keys() == raised - {CoworkError}


@pytest.mark.parametrize("kind", ROWS, ids=lambda kind: kind.code)
def test_every_row_is_in_words_that_clients_know(kind: type[CoworkError]) -> None:
    row = ROWS[kind]
    assert row.openai_type in OPENAI_TYPES
    assert row.anthropic_type in ANTHROPIC_TYPES
    assert row.status in {400, 401, 403, 404, 409, 429, 500, 502, 503, 504}
    assert row_of_code(kind.code) is row


def test_a_client_may_ask_again_only_where_nothing_was_asked() -> None:
    may = {kind for kind, row in ROWS.items() if row.was_not_asked}
    assert may >= set(NOT_STARTED)
    assert {kind.code for kind in may - set(NOT_STARTED)} == {
        *("queue_full", "outbox_full", "worker_unreachable"),
    }


def test_an_error_of_no_row_is_its_parents() -> None:
    class Fuller(QueueFull):
        """Of no row."""

    assert row_of(Fuller("full")) is ROWS[QueueFull]
    assert row_of(CoworkError("odd")) is ROWS[Internal]
    assert row_of_code("no_such_code") is ROWS[Internal]


def test_both_shapes_are_as_their_sdks_read_them() -> None:
    row = row_of(InvalidValue("must be 1", field="n"))
    assert openai_error(row, "must be 1", "invalid_value", "n") == {
        "error": {
            "message": "must be 1",
            "type": "invalid_request_error",
            "param": "n",
            "code": "invalid_value",
        }
    }
    assert anthropic_error(row, "must be 1", "r1") == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "must be 1"},
        "request_id": "r1",
    }
