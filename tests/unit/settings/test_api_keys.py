"""Keys by file: read again when it changes, never half, never quoted."""

from __future__ import annotations

import os

import pytest

from cowork.settings import api_keys
from cowork.settings.api_keys import ApiKeys, KeyOwner, Operators
from tests.fakes import Clock

ONE, TWO, THREE = "1" * 32, "2" * 40, "3" * 32


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "keys"
    path.write_text(f"me={ONE}\n")
    return path


def write(file, text):
    """Write it as an editor does: a new file in the old one's place."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(file)


def name_of(held, key):
    found = held.find(key)
    return found and found.name


def test_comments_and_blank_lines_say_nothing(tmp_path):
    file = tmp_path / "keys"
    file.write_text(f"# who may call\n\n  me={ONE}  \r\n\t\n#you={TWO}\nthem={THREE},=#x")
    assert api_keys.read_file(file) == {"me": ONE, "them": f"{THREE},=#x"}


@pytest.mark.parametrize(
    "content",
    [
        b"me",
        b"=" + ONE.encode(),
        b"me=" + b"k" * 31,
        b"me=" + b"k" * 2000,
        b"me=" + b"k" * 31 + "ü".encode(),
        b"me=" + b"k" * 31 + b"\xff",
        b"me=" + b"k" * 20 + b" " + b"k" * 20,
        b"a b=" + ONE.encode(),
        f"me={ONE}\nme={TWO}".encode(),
        f"me={ONE}\nyou={ONE}".encode(),
        b"#" * (2**20 + 1),
    ],
)
def test_what_is_no_pair_is_a_fault_that_quotes_nothing(tmp_path, content):
    file = tmp_path / "keys"
    file.write_bytes(content)
    with pytest.raises(ValueError, match="expected") as fault:
        api_keys.read_file(file)
    assert "kkkk" not in str(fault.value)
    assert ONE not in str(fault.value)
    assert fault.value.__cause__ is None


def test_both_sources_count_and_every_key_is_found_by_its_whole_self(file, clock):
    held = ApiKeys({"you": TWO}, file, now=clock)
    assert (name_of(held, ONE), name_of(held, TWO)) == ("me", "you")
    for wrong in ("", ONE[:-1], ONE + "1", TWO[:32], "ü" * 32, "x" * 32):
        assert held.find(wrong) is None
    assert held.required
    assert held.reloadable
    assert not ApiKeys({}, None).required
    assert not ApiKeys({"me": ONE}).reloadable


def test_a_changed_file_counts_within_a_second(file, clock):
    held = ApiKeys({}, file, now=clock)
    key_owner = held.find(ONE)
    write(file, f"me={TWO}\n")
    assert held.find(ONE) is not None  # looked at less than a second ago
    clock.now += 1.0
    assert (held.find(ONE), name_of(held, TWO)) == (None, "me")
    assert not held.is_valid(key_owner)
    assert not held.is_valid(KeyOwner("me", b"x" * 32))
    assert held.is_valid(held.find(TWO))


def test_a_file_written_in_place_counts_too(file, clock):
    held = ApiKeys({}, file, now=clock)
    stamp = file.stat()
    file.write_text(f"me={TWO[:32]}\n")  # as long as before
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1))
    clock.now += 1.0
    assert name_of(held, TWO[:32]) == "me"


@pytest.mark.parametrize(
    "broken", [f"me={ONE}\nnonsense", f"me={TWO}\nyou={TWO}", "me=short", None]
)
def test_a_broken_file_leaves_the_last_good_one_in_force(file, clock, broken, capfd):
    held = ApiKeys({}, file, now=clock)
    if broken is None:
        file.unlink()
    else:
        write(file, broken)
    for _ in range(3):
        clock.now += 1.0
        assert name_of(held, ONE) == "me"
    write(file, f"you={THREE}\n")
    clock.now += 1.0
    assert (held.find(ONE), name_of(held, THREE)) == (None, "you")
    said = capfd.readouterr().err
    assert ONE not in said
    assert TWO not in said


def test_a_name_of_the_environment_is_not_taken_by_the_file(file, clock):
    held = ApiKeys({"me": TWO}, file, now=clock)
    assert (name_of(held, TWO), held.find(ONE)) == ("me", None)


def test_an_emptied_file_lets_nobody_in_and_opens_nothing(file, clock):
    held = ApiKeys({}, file, now=clock)
    write(file, "# nobody\n")
    clock.now += 1.0
    assert held.find(ONE) is None
    assert held.required
    assert len(held) == 0


def test_the_file_is_looked_at_once_a_second_at_most(file, clock):
    held = ApiKeys({}, file, now=clock)
    write(file, f"you={TWO}\n")
    clock.now += 0.999
    assert name_of(held, ONE) == "me"


def key_owner(name):
    return KeyOwner(name, b"")


@pytest.mark.parametrize(
    ("keys_given", "admins", "login", "operators", "logins"),
    [
        ("me", "", "", "me", "me"),
        ("me you", "", "", "", ""),
        ("me you", "", "you", "", "you"),
        ("me you them", "me", "you", "me", "me you"),
        ("me", "gone", "", "", ""),
    ],
)
def test_fault_s8_operators_are_those_named_else_the_only_one(
    keys_given, admins, login, operators, logins
):
    held = ApiKeys({name: name[0] * 32 for name in keys_given.split()})
    found = Operators(held, admins.split(), login.split())
    assert [n for n in held.names if found.may_administer(key_owner(n))] == operators.split()
    assert sorted(n for n in held.names if found.may_login(key_owner(n))) == logins.split()
    assert not found.may_administer(None)


def test_fault_s8_without_keys_everybody_served_is_an_operator():
    found = Operators(ApiKeys({}), (), ())
    assert found.may_administer(None)
    assert found.may_login(None)


def test_fault_s8_a_name_that_no_key_has_is_told_when_the_file_changes_too(file, clock, capsys):
    held = ApiKeys({}, file, now=clock)
    found = Operators(held, ("me",), ("gone",))
    found.check()
    told = capsys.readouterr().out
    assert "names=gone setting=COWORK_LOGIN_KEYS" in told
    assert "no key may begin" not in told
    assert found.may_login(key_owner("me"))
    write(file, f"you={TWO}\nthem={THREE}\n")
    clock.now += 2
    assert held.find(TWO)
    told = capsys.readouterr().out
    assert "names=me setting=COWORK_ADMIN_KEYS" in told
    assert "no key may begin or end the XO login" in told
