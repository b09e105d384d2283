"""What the demo model says to somebody who has a first look.

It cannot think, and says so; what it can show is that answers arrive word by word, that sums come
out right and that a project's session remembers what was said.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Sequence
from fractions import Fraction

from cowork.demo.directives import Wanted
from cowork.demo.plain_words import understood

_QUOTE_LENGTH = 200
_HELLO = (
    "I am the demo model: I answer without any account, so that you can see how XO Cowork streams "
    "an answer word by word. Ask me a sum, such as 2 + 2, or say `help` for all that I can do."
)
_ABOUT_ME = (
    "I am the demo model: I need no account and I cannot think, but my words travel the whole "
    "way from the model API through the Claude CLI to you."
)
_GREETING = re.compile(
    r"\s*(?:hello|hi|hey|good (?:morning|day|afternoon|evening))(?![\w'-])"
    r"(?:\s+(?:there|again|claude|everyone|world)\b)?[\s,.!]*",
    re.IGNORECASE,
)
_SUM = r"(?P<sum>[\d\s.+\-*/()\u00d7\u00f7]{3,80})"
_ONLY_SUM = re.compile(rf"{_SUM}=?\s*\??\s*")
_ASKED_SUM = re.compile(
    rf"\b(?:what\s+is|what's|how\s+much\s+is|calculate|compute)\b{_SUM}(?=[=?!,;]|\Z)",
    re.IGNORECASE,
)
_WHO_ARE_YOU = re.compile(r"\b(?:who|what) are you\b", re.IGNORECASE)
_MY_NAME_IS = re.compile(r"\bmy name is (?P<name>[^\W\d_][\w'-]*)", re.IGNORECASE)
_WHO_AM_I = re.compile(r"\b(what is my name|what's my name|who am i)\b", re.IGNORECASE)
_WHAT_BEFORE = re.compile(
    r"\bwhat (?:did|have) (?:i|we) (?:ask(?:ed)?|say|said|talk(?:ed)? about)\b", re.IGNORECASE
)
_REMEMBERED = 10
_OPERATORS: dict[type[ast.operator], tuple[str, Callable[[Fraction, Fraction], Fraction]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
}


def reply(question: str, earlier: Sequence[str] = (), images: Sequence[str] = ()) -> str:
    """Answer a question, knowing the earlier ones of the session, oldest first.

    `images` says what each image shows that came with it.
    """
    greeting = _GREETING.match(question)
    rest = question[greeting.end() :] if greeting else question
    topics = (
        _introduction(rest, greeted=greeting is not None),
        _seen(images),
        _name(rest, earlier),
        _before(rest, earlier),
        _chosen(question, earlier),
        _sum(rest),
    )
    answers = [answer for answer in topics if answer] or [_anything(question, earlier)]
    if greeting:
        again = any(_GREETING.match(text) for text in earlier)
        answers.insert(0, "Hello again!" if again else "Hello!")
    return " ".join(answers)


def quoted(text: str) -> str:
    """A text in quotation marks, on one line, cut where it becomes long."""
    line = " ".join(text.split())
    return f'"{line if len(line) <= _QUOTE_LENGTH else line[:_QUOTE_LENGTH].rstrip() + "..."}"'


def _introduction(question: str, *, greeted: bool) -> str | None:
    if greeted and not question:
        return _HELLO
    return _ABOUT_ME if _WHO_ARE_YOU.search(question) else None


def _seen(images: Sequence[str]) -> str | None:
    if not images:
        return None
    return f"You sent me {', and '.join(images)}."


def _before(question: str, earlier: Sequence[str]) -> str | None:
    if not _WHAT_BEFORE.search(question):
        return None
    if not earlier:
        return "This is your first question in this session."
    asked = [f"{number}. {quoted(text)}" for number, text in enumerate(earlier, 1)]
    skipped = len(asked) - _REMEMBERED
    more = f" The last {_REMEMBERED} of {len(asked)}:" if skipped > 0 else ""
    return "\n".join([f"In this session you asked:{more}", *asked[max(skipped, 0) :]])


def _chosen(question: str, earlier: Sequence[str]) -> str | None:
    """What was answered to a question of ours."""
    asked = understood(Wanted(rest=earlier[-1])).question if earlier else None
    return None if asked is None else f"You answered: {quoted(question)}. A good choice."


def _sum(question: str) -> str | None:
    found = _ONLY_SUM.fullmatch(question) or _ASKED_SUM.search(question)
    if not found:
        return None
    text = found["sum"].replace("\u00d7", "*").replace("\u00f7", "/").strip(" .\n")
    try:
        tree = ast.parse(text, mode="eval").body
        if not isinstance(tree, ast.BinOp):
            return None
        return f"{_spelled(tree)} = {_number(_value(tree))}"
    except ZeroDivisionError:
        return f"{_spelled(tree)} has no value: nothing can be divided by zero."
    except (SyntaxError, ValueError):
        return None


def _value(node: ast.expr) -> Fraction:
    """Work out a sum exactly. Anything but numbers and the four operations is refused."""
    match node:
        case ast.BinOp(left, op, right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)][1](_value(left), _value(right))
        case ast.UnaryOp(ast.USub(), operand):
            return -_value(operand)
        case ast.Constant(value) if type(value) in (int, float):
            return Fraction(str(value))
    raise ValueError("not a sum")


def _spelled(node: ast.expr) -> str:
    """The sum with one blank around each operator."""
    return ast.unparse(node)


def _number(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value.numerator)
    return f"{float(value):.10g}"


def _name(question: str, earlier: Sequence[str]) -> str | None:
    told = _MY_NAME_IS.search(question)
    if told:
        return f"Nice to meet you, {told['name']}. Ask me later what your name is."
    if not _WHO_AM_I.search(question):
        return None
    names = [found["name"] for text in earlier if (found := _MY_NAME_IS.search(text))]
    if not names:
        return "You have not told me your name in this session yet."
    return f"Your name is {names[-1]}: you told me earlier in this session."


def _anything(question: str, earlier: Sequence[str]) -> str:
    asked = f"You asked: {quoted(question)}." if question else "You asked nothing."
    lines = [
        asked,
        _ABOUT_ME,
    ]
    if earlier:
        number = len(earlier) + 1
        lines.append(
            f"This is question {number} of this session; the first was {quoted(earlier[0])}."
        )
    lines.append("Say `help` for what I can do; for real answers log in with `claude /login`.")
    return " ".join(lines)
