"""What a question may have: what the operator lets it, and what the CLI has."""

from __future__ import annotations

from dataclasses import replace

from cowork.claude import command, turn_options
from cowork.claude.launch_options import LaunchOptions, permission_allows
from cowork.claude.offers import DEFAULT_NAME
from cowork.claude.pool.pool import Pool
from cowork.claude.turn_options import MODEL_ID, TurnOptions
from cowork.errors import InvalidValue
from cowork.model import Project
from cowork.turns.policy import TurnPolicy
from cowork.turns.question import Question


class QuestionChecks:
    """Raises `InvalidValue`, with its field; `mode` is whether turns ask a person."""

    def __init__(self, pool: Pool, policy: TurnPolicy, *, mode: str) -> None:
        self._pool = pool
        self._policy = policy
        self._mode = mode

    def approves(self, wanted: bool | None) -> bool:
        """Whether a question's turn asks a person, of which the operator has the first word."""
        mode = self._mode
        if wanted and mode == "off":
            raise InvalidValue("this server asks nobody; see COWORK_APPROVALS", field="approvals")
        if wanted is False and mode == "always":
            raise InvalidValue("this server always asks", field="approvals")
        return mode == "always" or bool(wanted)

    def checked(self, project: Project, question: Question, agent_type: str | None) -> Question:
        """The question with what the operator lets it have, and with its skill."""
        if question.turn_options != turn_options.DEFAULT:
            self._check_turn_options(question.turn_options)
        options, skill = self._permitted(question.options), self._skill(project, agent_type)
        if (options, skill) == (question.options, question.skill):
            return question
        return replace(question, options=options, skill=skill)

    def _check_turn_options(self, wanted: TurnOptions) -> None:
        """Raise where the CLI has no such model, effort or server."""
        offers = self._pool.offers
        unknown = [name for name in wanted.mcp_servers if name not in offers.mcp_servers]
        if unknown:
            raise InvalidValue(f"no MCP server is named {unknown[0]!r}", field="mcp_servers")
        if wanted.model is None and wanted.effort is None:
            return
        self._policy.workspace.check()
        offer = offers.get()
        model = offer.find(wanted.model or DEFAULT_NAME)
        is_id = wanted.model is not None and MODEL_ID.fullmatch(wanted.model) is not None
        if wanted.model is not None and model is None and not is_id:
            raise InvalidValue("expected an `id` of GET /models, or a full id", field="model")
        if wanted.effort is not None and model is not None and wanted.effort not in model.efforts:
            efforts = ", ".join(model.efforts) or "none"
            raise InvalidValue(f"this model's efforts are: {efforts}", field="effort")

    def _permitted(self, options: LaunchOptions) -> LaunchOptions:
        """The options, where the operator lets a request have them."""
        mode, operators = options.permission_mode, self._policy.permission_mode
        if mode is None:
            return options
        if mode == operators:
            return replace(options, permission_mode=None)
        if not permission_allows(mode, operators):
            sentence = f"this server allows no mode that is wider than its own, {operators!r}"
            raise InvalidValue(sentence, field="permission_mode")
        return options

    def _skill(self, project: Project, agent_type: str | None) -> str | None:
        try:
            skill = command.skill_name(agent_type)
        except ValueError as fault:
            raise InvalidValue(str(fault), field="agent_type") from fault
        if skill is None:
            return None
        self._policy.workspace.check()
        if not self._pool.has_skill(skill, self._policy.workspace.cwd(project)):
            raise InvalidValue(f"no skill is named {skill!r}", field="agent_type")
        return skill
