"""How the CLI is called: argv and environment.  Pure.

argv holds constants and UUIDs that we made, nothing that a client sent: a prompt in argv is code
execution, since the CLI reads `--settings={"hooks": ...}` wherever it stands.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any
from uuid import UUID

from cowork.claude.launch_options import DEFAULT, LaunchOptions
from cowork.runtime.unix_user import UnixUser

MARKER = "COWORK_PROCESS"
# What a process writes is its user's alone, unless it says otherwise.
UMASK = 0o077
# How long a first turn waits for a tool server that does not answer, unless the operator says
# otherwise; milliseconds.
MCP_TIMEOUT = "5000"

_PASSED = frozenset(
    {
        *("HOME", "PATH", "LANG", "TERM", "TZ", "USER", "LOGNAME", "SHELL", "TMPDIR"),
        *("CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CONFIG_DIR", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"),
    }
)
_PASSED_PREFIXES = ("LC_", "ANTHROPIC_", "DISABLE_", "CLAUDE_CODE_DISABLE_")
_ALWAYS = {
    # A resident process must never begin a turn by itself.
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
    "CLAUDE_CODE_DISABLE_CRON": "1",
    # `@/any/file` in a question would be read and sent, from outside the workspace too.
    "CLAUDE_CODE_DISABLE_FILE_MENTIONS": "1",
    # The answer is on disk when its result is printed, so a kill right after it loses nothing.
    "CLAUDE_CODE_EAGER_FLUSH": "1",
    "CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS": "1",
    # What one session is told to remember would stand in the prompt of every other.
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
    "DISABLE_AUTOUPDATER": "1",
}
# A repository in the workspace would bring names and commit messages into every session's prompt.
_UNTRUSTED = {"CLAUDE_CODE_DISABLE_GIT_INSTRUCTIONS": "1"}
# The built-in tools there are, by the names that the CLI has for them: one that a newer CLI adds
# is not there before somebody has looked at what it reaches (tests/e2e/tools.json says so of
# each).  A name that a CLI does not know does no harm.
TOOLS = (
    *("Task", "Bash", "Edit", "NotebookEdit", "Read", "ReportFindings", "Skill", "TaskStop"),
    *("ToolSearch", "WebFetch", "WebSearch", "Write"),
)
# Those that ask a person, where one can answer; and the list that a client has asked to see.
ASKING_TOOLS = ("AskUserQuestion", "EnterPlanMode", "ExitPlanMode")
TODO_TOOLS = ("TodoWrite",)
_ASK = "--permission-prompt-tool=stdio"
# Backups of what the edit tools change, which a rewind restores.
_CHECKPOINTS = {"CLAUDE_CODE_ENABLE_SDK_FILE_CHECKPOINTING": "1"}
_TODO = {"CLAUDE_CODE_ENABLE_TODO_TOOLS": "1", "CLAUDE_CODE_ENABLE_TASKS": "0"}
# Refused by name too, whatever else brings them.
NO_TOOLS = (
    # They reach other sessions of the same user.
    *("ListAgents", "SendMessage"),
    # They begin turns later, by themselves, which nobody would be listening to.
    *("ScheduleWakeup", "Monitor", "CronCreate", "Workflow", "RemoteTrigger"),
    # They take the session, and its transcript, out of the directory that the server knows.
    *("EnterWorktree", "ExitWorktree"),
)
# Commands that the CLI runs without asking, and whose arguments it holds against the folders that
# may be read; but not these, which name a file to read names or lines from, and tell what is in
# it: any file at all, another session's transcript too.  Options may be shortened.
_TELLING = (
    *("*wc *--f*", "*du *--f*", "*diff *--f*", "*diff *--to*", "*tree *--f*"),
    *("*git*--ignore-revs*", "*strings *@*"),
)


@dataclass(frozen=True, slots=True)
class LaunchConfig:
    """How every process of this server is started; the operator's choice, fixed at start.

    `shared_workspace` is whether sessions of several projects work in one directory.
    `setpriv` is the path of util-linux's tool, or None where there is none: it makes the kernel
    end the CLI when we die, and takes the rights of `cli_user` where that is not our own user.
    `retries` bounds the CLI's own tries at a failing model API; with `checkpoints` it keeps what
    files were before its tools changed them.
    """

    permission_mode: str = "default"
    trust_projects: bool = False
    shared_workspace: bool = True
    retries: int = 2
    setpriv: str | None = None
    cli_user: UnixUser | None = None
    passed: tuple[str, ...] = ()
    checkpoints: bool = False

    def __post_init__(self) -> None:
        if self.cli_user is not None and self.setpriv is None:
            raise ValueError("without setpriv the CLI would run as root")


def argv(
    executable: str,
    session_id: str,
    *,
    resume: bool,
    launch_config: LaunchConfig,
    options: LaunchOptions = DEFAULT,
    model: str | None = None,
    environ: Mapping[str, str] = MappingProxyType({}),
) -> list[str]:
    """The command of a resident process; raises ValueError for what is no UUID as we write it.

    `environ` is the environment it gets, which says where it keeps things; `model` is a name of
    the CLI's own list, never what a client wrote.
    """
    mode = options.permission_mode or launch_config.permission_mode
    tools = [*TOOLS, *(ASKING_TOOLS if options.approvals else ())]
    tools += TODO_TOOLS if options.todo else ()
    launch_config = replace(launch_config, permission_mode=mode)
    if session_id != str(UUID(session_id)):
        raise ValueError("not a UUID in its usual form")
    sources = (
        [] if launch_config.trust_projects else ["--setting-sources=user", "--strict-mcp-config"]
    )
    return [
        executable,
        "--print",
        "--verbose",
        "--input-format=stream-json",
        "--output-format=stream-json",
        "--include-partial-messages",
        f"--permission-mode={launch_config.permission_mode}",
        f"--tools={','.join(tools)}",
        f"--disallowedTools={','.join(NO_TOOLS)}",
        f"--settings={json.dumps(settings(environ, launch_config))}",
        *sources,
        *([_ASK] if options.approvals else []),
        *([] if model is None else [f"--model={model}"]),
        f"--{'resume' if resume else 'session-id'}={session_id}",
    ]


def settings(environ: Mapping[str, str], launch_config: LaunchConfig) -> dict[str, Any]:
    """Settings that stand above those of the user and of a project.

    Each process listens for other CLIs of its user, whose messages would begin turns.  And the
    CLI lets its file tools into folders of its own without asking: those that many sessions
    share, and where sessions share a directory, the transcripts of all of them.
    """
    own = _pattern(config_folder(environ))
    shared = [f"{own}/{name}/**" for name in ("agent-memory", "tasks", "teams")]
    shared += [f".claude/{name}/**" for name in ("agent-memory", "agent-memory-local")]
    # A backup that was written by a tool would be what a rewind restores.
    sessions = [f"{own}/projects/**", f"{own}/file-history/**"]
    # In `plan` it reads whatever there is, unasked, and not only what its own session put aside.
    if launch_config.shared_workspace or launch_config.permission_mode == "plan":
        uid = os.getuid() if launch_config.cli_user is None else launch_config.cli_user.uid
        temporary = temporary_folders(environ)
        shared += sessions + [f"{_pattern(folder)}/claude-{uid}/**" for folder in temporary]
    denied = [f"Read({path})" for path in shared]
    denied += [f"Edit({path})" for path in dict.fromkeys([*shared, *sessions])]
    denied += [f"Bash({command})" for command in _TELLING]
    return {"crossSessionInbound": "refuse", "permissions": {"deny": denied}}


def config_folder(environ: Mapping[str, str]) -> str:
    """Where a CLI with that environment keeps its user's things."""
    return environ.get("CLAUDE_CONFIG_DIR") or f"{environ.get('HOME', '~')}/.claude"


def temporary_folders(environ: Mapping[str, str]) -> list[str]:
    """Where a CLI with that environment has its `claude-<uid>` for what is temporary."""
    return sorted({"/tmp", environ.get("TMPDIR") or "/tmp"})  # noqa: S108 - the CLI's own


def _pattern(folder: str) -> str:
    """A folder in a permission rule: `//` begins a whole path, and `?` is any one character."""
    plain = re.sub(r"[^A-Za-z0-9/._~-]", "?", folder.rstrip("/"))
    return f"/{plain}" if plain.startswith("/") else plain


def privilege_prefix(launch_config: LaunchConfig, cwd: str) -> tuple[list[str], str]:
    """What stands before a command, and the directory to start all of it in."""
    cli_user = launch_config.cli_user
    if launch_config.setpriv is None:
        return [], cwd
    if cli_user is None:
        return [launch_config.setpriv, "--pdeathsig", "TERM", "--"], cwd
    # setpriv asks for the signal after the change of user, which would take it away.
    rights = [
        f"--reuid={cli_user.uid}",
        f"--regid={cli_user.gid}",
        "--init-groups",
        "--no-new-privs",
    ]
    # Goes there with the rights that it has by then: a link in a workspace leads nowhere new.
    go = ["env", f"--chdir={cwd}"]
    return [launch_config.setpriv, *rights, "--pdeathsig", "TERM", "--", *go], "/"


def environment(
    environ: Mapping[str, str],
    *,
    marker: str,
    launch_config: LaunchConfig,
    options: LaunchOptions = DEFAULT,
) -> dict[str, str]:
    """What a process gets of our environment: an allow-list, since its tools can read it all.

    `marker` is inherited by every descendant, however detached; `orphans.py` looks for it.
    """
    passed = {
        name: value for name, value in environ.items() if _is_passed(name, launch_config.passed)
    }
    if launch_config.cli_user is not None:
        user, home = launch_config.cli_user.name, str(launch_config.cli_user.home)
        passed |= {
            "HOME": home,
            "USER": user,
            "LOGNAME": user,
            "SHELL": launch_config.cli_user.shell,
        }
    return {
        **passed,
        **_ALWAYS,
        **({} if launch_config.trust_projects else _UNTRUSTED),
        **(_TODO if options.todo else {}),
        **(_CHECKPOINTS if launch_config.checkpoints else {}),
        "CLAUDE_CODE_MAX_RETRIES": str(launch_config.retries),
        "MCP_TIMEOUT": environ.get("MCP_TIMEOUT") or MCP_TIMEOUT,
        "PATH": passed.get("PATH", os.defpath),
        MARKER: marker,
    }


def _is_passed(name: str, extra: Iterable[str]) -> bool:
    return name in _PASSED or name.startswith(_PASSED_PREFIXES) or name in extra


def prompt(
    question: str,
    skill: str | None,
    *,
    slash_commands: bool,
    earlier: Sequence[tuple[str, str]] = (),
) -> str:
    """What the CLI is asked: a skill's call, or text.

    Text that begins with `/` would be a command of the CLI's own (`/config key=value` rewrites
    the user's settings for good); a leading space makes it plain text.
    `earlier` are questions and answers of a session that is lost: before text, behind a skill's.
    """
    if skill is not None:
        said = f"/{skill} {question}"
        return f"{said}\n\n{_history_preamble(earlier)}" if earlier else said
    if question.startswith("/") and not slash_commands:
        question = f" {question}"
    return f"{_history_preamble(earlier)}\n\n{question}" if earlier else question


def _history_preamble(earlier: Sequence[tuple[str, str]]) -> str:
    """As JSON, in which nothing can look like the end of the block."""
    lines = [json.dumps({"question": each[0], "answer": each[1]}) for each in earlier]
    said = "\n".join(lines).replace("<", "\\u003c")
    return (
        "<earlier_conversation>\n"
        "The session of this conversation was lost. What was said in it, oldest first:\n"
        f"{said}\n"
        "</earlier_conversation>"
    )


def skill_name(agent_type: str | None) -> str | None:
    """`agent_type` as the CLI names a skill, None where none is asked for.

    Raises ValueError for a name that cannot be a skill's.
    """
    name = (agent_type or "").strip().lower().replace("_", "-")
    if name and not re.fullmatch(r"[a-z0-9:-]{1,128}", name):
        raise ValueError("a skill's name is made of a-z, 0-9, - and :")
    return name or None
