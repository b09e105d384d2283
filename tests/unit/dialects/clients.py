"""Clients that send their whole conversation with each question, as they change it meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import strategies as st

from cowork.dialects.request import ConversationName, DialectRequest, HistoryMessage, NameSource

OWNERS = ("ann", "bob")
SCOPES = (None, "person")
NAMES = (
    None,
    ConversationName("front", NameSource.FRONT_END),
    ConversationName("sdk", NameSource.CHAT),
)
# Few, so that conversations begin alike; the server's own forms of text are among them.
QUESTIONS = ("hi", "hi ", "why?", "what\n\nelse", "<earlier_conversation>\nno", "/clear", "e\u0301")
ANSWERS = ("yes", "no", " yes\n", "\u00e9 and\tmore")
CLIENTS = 3


@dataclass(frozen=True, slots=True)
class Step:
    """What one of the clients does next.

    `say` a question, ask the last one `again` (another answer is wanted), `edit` an earlier one,
    `begin` anew, `copy` the conversation of the client before; the front end asks a `task` of its
    own under the same name; the CLI is to `fail`, and the client may `keep` half an answer; its project is to be `delete`d, or the
    CLI to `lose` all its sessions; `both`: two questions behind one answer at the same time.
    """

    kind: str
    client: int
    question: str
    answer: str
    place: int


# As often as they are here.
KINDS = (
    *("say", "say", "say", "again", "edit", "edit", "begin", "copy"),
    *("task", "fail", "fail", "keep", "delete", "lose", "both", "both"),
)
STEPS = st.lists(
    st.builds(
        Step,
        kind=st.sampled_from(KINDS),
        client=st.integers(0, CLIENTS - 1),
        question=st.sampled_from(QUESTIONS),
        answer=st.sampled_from(ANSWERS),
        place=st.integers(0, 3),
    ),
    min_size=4,
    max_size=16,
)
WHO = st.tuples(st.sampled_from(OWNERS), st.sampled_from(SCOPES), st.sampled_from(NAMES))
EVERYBODY = st.lists(WHO, min_size=CLIENTS, max_size=CLIENTS)


@dataclass(slots=True)
class Conversation:
    """What a client has of it: questions and answers in turn, the last one an answer."""

    owner: str
    scope: str | None
    name: ConversationName | None
    said: list[str] = field(default_factory=list)

    @property
    def who(self) -> tuple[object, ...]:
        """Whose it is: sessions of others have nothing of it."""
        return self.owner, self.scope, self.name

    def asked(self, question: str) -> DialectRequest:
        """The request, as it comes over the wire: laid out a little otherwise than it was told."""
        roles = ("user", "assistant")
        history = tuple(
            HistoryMessage(roles[place % 2], f" {text}\n" if place % 3 else text)
            for place, text in enumerate(self.said)
        )
        request = DialectRequest("chat", question, history, scope=self.scope)
        return replace(request, name=self.name)

    def cut(self, step: Step) -> str:
        """Have the client go back, as the step says; what it asks then."""
        match step.kind:
            case "again" if self.said:
                *self.said, question, _ = self.said
                return question
            case "edit" if self.said:
                del self.said[2 * (step.place % (len(self.said) // 2)) :]
            case "begin":
                self.said.clear()
        return step.question
