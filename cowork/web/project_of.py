"""The project that a path names."""

from __future__ import annotations

from flask import g
from marshmallow import ValidationError

from cowork.model import Project
from cowork.web.fields import valid_name
from cowork.web.problems import InvalidBody, faults_of
from cowork.web.project_hint import check_hint


def project_of(name: str) -> Project:
    """The caller's project of that name; raises `InvalidBody` for what is no name."""
    try:
        valid_name(name)
    except ValidationError as fault:
        raise InvalidBody(
            faults_of(ValidationError({"path": {"project_id": fault.messages}}))
        ) from fault
    check_hint(name)
    return Project(g.owner, name)
