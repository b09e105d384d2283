"""`deploy/grafana.json` asks Prometheus for what there is, in expressions that it takes."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from cowork.telemetry.catalogue import ALL
from tests.serving import ROOT

DASHBOARD = json.loads((ROOT / "deploy" / "grafana.json").read_text())
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def test_each_panel_asks_for_metrics_and_labels_that_there_are() -> None:
    known = {each.full_name: {*each.labels, "le", "worker", "instance"} for each in ALL}
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            names = re.findall(r"cowork_\w+", target["expr"])
            assert names, panel["title"]
            labels = set()
            for name in names:
                labels |= known[re.sub(r"_bucket$", "", name)]
            shown = re.findall(r"{{(\w+)}}", target["legendFormat"])
            grouped = re.findall(r"by \(([^)]*)\)", target["expr"])
            assert {*shown, *(each.strip() for by in grouped for each in by.split(","))} <= labels


def test_panels_are_beside_each_other_and_have_names_of_their_own() -> None:
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]}
    ids = {panel["id"] for panel in DASHBOARD["panels"]}
    assert len(places) == len(ids) == len(DASHBOARD["panels"])


def test_prometheus_takes_every_expression(promtool: str, tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": each.replace("$instance", ".*")}
        for number, each in enumerate(EXPRESSIONS)
    ]
    file = tmp_path / "rules.json"  # which is YAML
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(
        [promtool, "check", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
