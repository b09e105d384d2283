"""What is read without a key, and what of that a link of another site may lead to."""

from __future__ import annotations

from flask import Request

# To be read without a key.
OPEN_ROUTES = frozenset(
    {
        "/",
        "/client.d.ts",
        "/client.js",
        "/console/<name>",
        "/console/vendor/<name>",
        "/docs",
        "/docs/assets/<name>",
        "/openapi.json",
    }
)
# Of these, what a link of another site may lead to: the page itself, and its files.
SHELL_ROUTES = frozenset(
    {"/", "/client.d.ts", "/client.js", "/console/<name>", "/console/vendor/<name>"}
)


def is_open(caller: Request) -> bool:
    """Whether it needs no key."""
    rule = caller.url_rule
    return rule is not None and rule.rule in OPEN_ROUTES and caller.method in {"GET", "HEAD"}


def is_link_to_shell(caller: Request) -> bool:
    """Whether somebody follows a link, in a tab of its own, to what is the same for everybody.

    No page can read what comes, nor have it in a frame; a form would be a POST.
    """
    environ, rule = caller.environ, caller.url_rule
    return (
        caller.method == "GET"
        and environ.get("HTTP_SEC_FETCH_MODE") == "navigate"
        and environ.get("HTTP_SEC_FETCH_DEST") == "document"
        and rule is not None
        and rule.rule in SHELL_ROUTES
    )
