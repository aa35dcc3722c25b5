# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images that a chart or manifests need, as a table: `make discovery CHART=... VALUES=...`."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from ansible_collections.airgap.speech.plugins.module_utils.discovery.charts import discover_chart
from ansible_collections.airgap.speech.plugins.module_utils.discovery.findings import EXCLUDED, Discovery
from ansible_collections.airgap.speech.plugins.module_utils.discovery.images import discover
from ansible_collections.airgap.speech.plugins.module_utils.discovery.render import (
    Chart,
    Renderer,
    RenderFailed,
    parsed,
)
from ansible_collections.airgap.speech.plugins.module_utils.discovery.rules import ImageRules, RulesInvalid, merged

CHECKOUT = Path(__file__).resolve().parents[1]
OPERATORS = CHECKOUT / "roles/speech_platform/files/image_rules"


def tool(name: str) -> str:
    """A binary: named by AIRGAP_SPEECH_<NAME>, on the path, or as the sandbox built it."""
    named = os.environ.get(f"AIRGAP_SPEECH_{name.upper()}")
    cache = Path(os.environ.get("AIRGAP_SPEECH_CACHE") or Path.home() / ".cache" / "airgap-speech")
    built = sorted(cache.glob(f"go/*/*/bin/{name}"))
    return named or shutil.which(name) or (str(built[-1]) if built else name)


def run(argv: list[str]) -> tuple[int, str, str]:
    """Run a command."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return 127, "", f"there is no {argv[0]}; name one in AIRGAP_SPEECH_{Path(argv[0]).name.upper()}"
    return done.returncode, done.stdout, done.stderr


def value_sets(texts: list[str]) -> dict[str, list[str]]:
    """`values.yml` alone or `a.yml,b.yml` is one set; `name=a.yml,b.yml` names it, so that there can be several."""
    sets: dict[str, list[str]] = {}
    for text in texts:
        name, equals, files = text.rpartition("=")
        sets.setdefault(name if equals else "values", []).extend(part for part in files.split(",") if part)
    return sets


def rules_of(names: list[str], variables: list[str]) -> ImageRules:
    """The rules that ship with the collection, and the user's."""
    files = sorted(OPERATORS.glob("*.yml")) + [Path(name) for name in names]
    given = {name: value.split(",") for name, _equals, value in (text.partition("=") for text in variables)}
    return merged(ImageRules.load(path.read_text(), str(path), given) for path in files)


def table(discovery: Discovery, full: bool) -> str:
    """A line a reference, then one a reason with its places; of what is excluded only counts, unless all is wanted."""
    blocks: dict[str, dict[str, dict[str, list[str]]]] = {}
    counts: dict[str, int] = {}
    for row in discovery.rows():
        if row["status"] == EXCLUDED and not full:
            counts[row["why"]] = counts.get(row["why"], 0) + 1
            continue
        place = " ".join(part for part in (row["kind"], row["name"], row["path"]) if part)
        reasons = blocks.setdefault(row["status"], {}).setdefault(row["reference"], {})
        reasons.setdefault(row["why"], []).append(f"{place} ({row['found']})")
    lines: list[str] = []
    for status, references in blocks.items():
        lines += ["", f"{status.upper()} ({len(references)})"]
        for reference, reasons in references.items():
            lines.append(f"  {reference}")
            for why, places in reasons.items():
                more = f", and {len(places) - 2} more" if len(places) > 2 else ""
                lines.append(f"      {why}: {'; '.join(places[:2])}{more}")
    if counts:
        lines += ["", f"EXCLUDED ({sum(counts.values())} places; FULL=1 lists them)"]
        lines += [f"  {count:5d}  {why}" for why, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    needed = len(discovery.references)
    lines += ["", f"{needed} images are needed, {len(discovery.undecided)} places are undecided"]
    return "\n".join(lines[1:])


def main() -> int:
    """Entry point: 0, 1 where something cannot be read, 3 where something is undecided and --strict is given."""
    parser = argparse.ArgumentParser(prog="make discovery", description=__doc__)
    parser.add_argument("inputs", nargs="+", help="a chart (directory, .tgz, oci://), manifests, or a kustomization")
    parser.add_argument(
        "--values", action="append", default=[], help="a.yml,b.yml or, of several sets, name=a.yml,b.yml"
    )
    parser.add_argument("--version", default="", help="the version of an OCI chart")
    parser.add_argument("--release", default="release")
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--kube-version", default="")
    parser.add_argument("--api-versions", action="append", default=[])
    parser.add_argument(
        "--pull-option", action="append", default=[], help="an option of helm pull, such as --plain-http"
    )
    parser.add_argument("--registry", default="", help="the private registry that the values name")
    parser.add_argument("--platform", action="append", default=[], help="of the bundle, such as linux/amd64")
    parser.add_argument("--rules", action="append", default=[], help="a file of rules beside those that ship")
    parser.add_argument("--variable", action="append", default=[], help="of the rules: node_os=ubuntu24.04,rhel9.4")
    parser.add_argument("--json", action="store_true", help="all rows, as JSON")
    parser.add_argument("--full", action="store_true", help="list the excluded candidates, too")
    parser.add_argument("--strict", action="store_true", help="fail where something is undecided")
    options = parser.parse_args()
    renderer = Renderer(run, tool("helm"), tool("kubectl"))
    try:
        rules = rules_of(options.rules, options.variable)
        found: dict[str, Discovery] = {}
        for name in options.inputs:
            if name.startswith("oci://") or name.endswith(".tgz") or (Path(name) / "Chart.yaml").is_file():
                chart = Chart(
                    name,
                    options.version,
                    options.release,
                    options.namespace,
                    options.kube_version,
                    options.api_versions,
                    options.pull_option,
                )
                sets = value_sets(options.values) or None
                found[name] = discover_chart(renderer, chart, sets, options.registry, options.platform, rules)
            else:
                documents = parsed(renderer.manifests(name), name)
                found[name] = discover(documents, options.registry, options.platform, rules)
    except (RenderFailed, RulesInvalid, OSError) as error:
        print(f"discovery: {error}", file=sys.stderr)
        return 1
    together = Discovery()
    for discovery in found.values():
        together.extend(discovery)
    together = together.tidy()
    print(json.dumps(together.rows(), indent=2) if options.json else table(together, options.full))
    return 3 if options.strict and together.undecided else 0


if __name__ == "__main__":
    sys.exit(main())
