"""The tree of errors is as its file draws it, and every error can be replied with."""

from __future__ import annotations

import re

import pytest

from cowork import errors
from cowork.claude.stream_json.failures import ProcessGone, SessionInUse, SessionMissing
from cowork.errors import CoworkError
from cowork.web import problems

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, CoworkError)
]
# Classes that only group others are never raised.
ABSTRACT = [kind for kind in KINDS if "code" not in vars(kind)] + [CoworkError]
CONCRETE = [kind for kind in KINDS if kind not in ABSTRACT]


@pytest.mark.parametrize("kind", ABSTRACT)
def test_a_class_without_a_code_of_its_own_groups_others(kind):
    assert kind.__subclasses__()


def test_no_two_errors_share_a_code():
    codes = [kind.code for kind in CONCRETE]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("kind", CONCRETE)
def test_a_code_is_stable_snake_case_and_follows_its_classs_name(kind):
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", kind.code)
    assert kind.code == re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_drawn_in_the_tree_with_its_code(kind):
    if kind is errors.InvalidValue:
        assert "`InvalidValue` is apart" in errors.__doc__
        return
    line = next(line for line in errors.__doc__.splitlines() if f" {kind.__name__} " in f"{line} ")
    assert kind in ABSTRACT or kind.code in line


def test_the_tree_draws_no_error_that_is_not_there():
    drawn = set(re.findall(r"(?:├|└)── (\w+)", errors.__doc__))
    assert drawn == {kind.__name__ for kind in KINDS} - {"CoworkError", "InvalidValue"}


@pytest.mark.parametrize("kind", CONCRETE)
def test_every_error_has_a_status(kind):
    # Two say their own: the upstream's 4xx, and a validation error.
    own = {errors.UpstreamRefused, errors.InvalidValue}
    assert (kind in problems.STATUS) is (kind not in own)


@pytest.mark.parametrize(("kind", "status"), problems.STATUS.items())
def test_a_status_is_one_of_an_error(kind, status):
    assert kind in CONCRETE
    assert 400 <= status <= 599


@pytest.mark.parametrize("kind", [SessionMissing, SessionInUse, ProcessGone])
def test_an_error_of_a_deeper_layer_has_the_status_of_its_parent(kind):
    assert problems.status_of(kind("x")) == problems.STATUS[errors.ClaudeFailed]


def test_the_upstreams_own_status_is_passed_on():
    error = errors.UpstreamRefused("no", status=418, upstream="teapot")
    assert problems.status_of(error) == 418
    assert error.facts == {"upstream": "teapot"}


def test_an_invalid_value_names_its_field_after_a_store_too():
    error = errors.restore_error(**errors.error_fields(errors.InvalidValue("no", field="at")))
    assert isinstance(error, errors.InvalidValue)
    assert (error.message, error.field) == ("no", "at")


def test_an_error_carries_its_facts_as_fields():
    error = errors.ClaudeFailed("it broke", retry_after=3, signal=9)
    assert (error.message, error.retry_after, error.facts) == ("it broke", 3, {"signal": 9})
    assert str(error) == "it broke"
