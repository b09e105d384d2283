"""The examples in `deploy/`: what can be told of them without an engine that runs them."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cowork.settings.settings import load, setting_fields
from tests.conftest import missing
from tests.e2e.nginx import MANY, SITE, nginx_binary
from tests.patience import PATIENCE_S
from tests.serving import ROOT

pytestmark = pytest.mark.e2e

DEPLOY = ROOT / "deploy"
DOCKERFILE = DEPLOY / "docker" / "Dockerfile"
COMPOSE = DEPLOY / "docker" / "compose.yaml"
KUBERNETES = DEPLOY / "kubernetes" / "xo-cowork.yaml"
SETTINGS = {field.metadata["variable"] for field in setting_fields()}
# What is no setting of the server's.
OTHERS = {"ANTHROPIC_API_KEY", "HOME", "LANG", "PATH", "PYTHONDONTWRITEBYTECODE", "SHELL"}
UID = "10001"
GRACEFUL_TIMEOUT_S = 30


def documents(file: Path) -> list[Any]:
    """Every document of the file; a name that stands twice is a fault."""

    class Strict(yaml.SafeLoader):
        """Refuses a mapping that has a key twice."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
            names = [key.value for key, _ in node.value]
            assert len(names) == len(set(names)), f"{file.name}: {names}"
            return super().construct_mapping(node, deep)

    return list(yaml.load_all(file.read_text(), Loader=Strict))


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, each with its arguments in one line."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line]  # type: ignore[misc]


def settings_can_be_used(given: dict[str, str], tmp_path: Path) -> None:
    assert given.keys() - OTHERS <= SETTINGS, "a name that is no setting"
    ours = {name: value for name, value in given.items() if name in SETTINGS}
    load({**ours, "COWORK_API_KEYS_FILE": ""}, dotenv=tmp_path / "none")


def test_the_image_is_not_roots_has_an_init_and_is_looked_at(tmp_path: Path) -> None:
    found = instructions()
    final = found[max(n for n, (word, _) in enumerate(found) if word == "FROM") :]
    of_final = {word: arguments for word, arguments in final if word not in {"RUN", "COPY"}}
    assert of_final["USER"] == f"{UID}:{UID}"
    assert json.loads(of_final["ENTRYPOINT"]) == ["tini", "--", "xo-cowork"]
    assert "/health/live" in of_final["HEALTHCHECK"]
    options, _, check = of_final["HEALTHCHECK"].partition("CMD ")
    assert "--start-period=" in options
    compile(json.loads(check)[2], "HEALTHCHECK", "exec")
    environ = dict(each.split("=", 1) for each in shlex.split(of_final["ENV"]))
    settings_can_be_used(environ, tmp_path)
    assert environ["HOME"] == of_final["VOLUME"] == of_final["WORKDIR"]
    assert of_final["EXPOSE"] == environ["PORT"]
    # apt's tini is what the entry point names.
    assert "tini" in next(arguments for word, arguments in final if word == "RUN")


def test_what_the_image_is_made_of_is_there_and_not_ignored() -> None:
    rules = (DEPLOY / "docker" / "Dockerfile.dockerignore").read_text().splitlines()
    kept = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    assert rules[0] == "*"
    for word, arguments in instructions():
        if word == "COPY" and "--from=" not in arguments:
            for name in arguments.split()[:-1]:
                assert (ROOT / name).exists(), name
                assert name in kept, name


def test_compose_has_one_way_in_and_ends_answers(tmp_path: Path) -> None:
    (found,) = documents(COMPOSE)
    api, proxy, redis = (found["services"][name] for name in ("api", "nginx", "redis"))
    settings_can_be_used(
        {**api["environment"], "COWORK_STORE": "redis://:x@redis:6379/0"}, tmp_path
    )
    # nginx is in its network, so that our site fits as it is.
    assert api["environment"]["HOST"] == "127.0.0.1"
    assert proxy["network_mode"] == "service:api"
    assert "ports" not in proxy
    assert "ports" not in redis
    assert int(api["stop_grace_period"].removesuffix("s")) > GRACEFUL_TIMEOUT_S
    build = api["build"]
    assert (COMPOSE.parent / build["context"] / build["dockerfile"]).resolve() == DOCKERFILE
    mounts = [each for service in (proxy, redis) for each in service["volumes"]]
    for mount in (each for each in mounts if each.startswith(".")):
        assert (COMPOSE.parent / mount.split(":")[0]).exists(), mount
    volumes = {
        each.split(":")[0] for each in [*api["volumes"], *redis["volumes"]] if each[0] != "."
    }
    assert volumes == found["volumes"].keys()


def test_kubernetes_has_probes_a_volume_and_time_to_drain(tmp_path: Path) -> None:
    every = documents(KUBERNETES)
    assert [each["kind"] for each in every] == ["Service", "Service", "StatefulSet"]
    service, headless, stateful = every
    spec = stateful["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert spec["serviceName"] == headless["metadata"]["name"]
    assert headless["spec"]["clusterIP"] == "None"
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"] == labels
    assert service["spec"]["selector"] == headless["spec"]["selector"] == labels
    assert spec["replicas"] == 1, "more need a Redis"
    probes = {
        name: container[f"{name}Probe"]["httpGet"]["path"]
        for name in ("startup", "liveness", "readiness")
    }
    assert probes == {
        "startup": "/health/live",
        "liveness": "/health/live",
        "readiness": "/health/ready",
    }
    before = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > before + GRACEFUL_TIMEOUT_S
    assert str(pod["securityContext"]["runAsUser"]) == UID
    environ = {each["name"]: each.get("value", "x") for each in container["env"]}
    settings_can_be_used(environ, tmp_path)
    mounted = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    made = {each["name"] for each in pod["volumes"]}
    claimed = {each["metadata"]["name"] for each in spec["volumeClaimTemplates"]}
    assert mounted.keys() == made | claimed
    assert environ["HOME"].startswith(f"{mounted['state']}/")
    assert environ["COWORK_API_KEYS_FILE"] == f"{mounted['keys']}/keys"


UNCOMMENTED = re.compile(r"(?m)^(\s*)# ((?:listen|ssl_|add_header|server|    |return|\}).*)$")


def test_nginx_takes_the_site_with_tls_and_with_two_servers(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        missing("openssl", "apt-get install openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subject = ["-subj", "/CN=cowork.example.org", "-days", "1", "-nodes"]
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", *subject]
    subprocess.run(
        [*new, "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
        timeout=PATIENCE_S,
    )
    site = SITE.read_text()
    # As its comments say: `listen 80` away, and these lines in.
    assert "    listen 80;\n" in site
    head, _, rest = site.replace("    listen 80;\n", "", 1).partition("    # listen 443")
    site = head + UNCOMMENTED.sub(r"\1\2", f"    # listen 443{rest}")
    for ours, theirs in (
        ("/etc/letsencrypt/live/cowork.example.org/fullchain.pem", str(certificate)),
        ("/etc/letsencrypt/live/cowork.example.org/privkey.pem", str(key)),
        ("/var/log/nginx/", f"{tmp_path}/"),
    ):
        assert ours in site
        site = site.replace(ours, theirs)
    assert site.count("listen 443 ssl") == 1
    assert site.count("return 308") == 1
    many = re.sub(r"(?ms)^upstream \w+ \{.*?^\}\n", lambda _: MANY.read_text(), site, count=1)
    for name, text in (("tls", site), ("many", many)):
        (tmp_path / f"{name}.conf").write_text(text)
        main = tmp_path / f"{name}-main.conf"
        main.write_text(
            f"pid {tmp_path}/{name}.pid; error_log stderr; events {{ }}"
            f" http {{ include {tmp_path}/{name}.conf; }}\n"
        )
        found = subprocess.run(
            [nginx_binary(), "-t", "-q", "-p", str(tmp_path), "-c", str(main), "-e", "stderr"],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
        assert (found.returncode, found.stderr) == (0, ""), text
