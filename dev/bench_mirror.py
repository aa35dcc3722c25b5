# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make bench-mirror`: our mirror beside skopeo, crane, oras and regctl, against the same registry.

Each tool in turn meets an emptied registry. `cold` sends all images, `noop` sends them again, `one_layer` sends them
with another base layer, `registry_to_registry` copies them from a second registry, `large_blob` (ours only) sends one
blob of 4 GiB, and `noop_ansible` (ours only) is `noop` through ansible-playbook. Every record has what the registry
saw: requests from its access log, and bytes_sent, which is what its process read. `seconds` is from exec to exit;
ours have engine_seconds beside it, which is the work without the start of Python.

All of it takes most of an hour. `--keep --minutes 6` measures what the record still lacks and begins nothing more after
six minutes: the same command again goes on there, until it says that nothing is left. Image set and registries stay
meanwhile; `--clean` removes them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT / "build" / "collections"))

from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import (
    MEDIA_CONFIG,
    MEDIA_LAYER_TAR,
    MEDIA_MANIFEST,
    Layout,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry
from ansible_collections.airgap.speech.plugins.module_utils.oci.transfer import plan_push, push
from dev.bench_images import BenchImage, items_of, make_images, read_images, unique_blobs
from dev.bench_tools import PEERS, build_peer, build_registry, skopeo
from tests.unit.plugins.module_utils.oci.samples import write_lock
from tests.unit.registry_server import RegistryServer, free_port

WORK = CHECKOUT / "build" / "bench"
RESULT = WORK / "mirror.json"
SCENARIOS = ("cold", "noop", "one_layer", "registry_to_registry", "large_blob", "noop_ansible")
LARGE = 4 << 30
# A run that changes nothing takes a fraction of a second: the median of some is recorded.
NOOPS = 5
Commands = list[list[str]]
Work = tuple[str, list[str]]


@dataclass
class Bench:
    """The registries, the image set, and where each tool reads it."""

    layout: Layout
    target: RegistryServer
    source: RegistryServer
    images: dict[bool, list[BenchImage]]
    programs: dict[str, str]
    threads: int
    records: list[dict[str, Any]] = field(default_factory=list)

    @property
    def tls(self) -> bool:
        return self.target.tls

    @property
    def ca(self) -> str:
        return str(self.target.ca_file) if self.tls else ""

    def forget(self) -> None:
        """Empty the target, at an address that no tool's cache knows."""
        self.target.stop()
        self.target.port = free_port()
        self.target.log.unlink(missing_ok=True)
        self.target.empty()
        subprocess.run(["sync"], check=True)


def layouts_of_each(bench: Bench, changed: bool) -> Path:
    """The set once more as a layout an image (for crane) and as skopeo's own directories, without a second copy."""
    root = WORK / f"{bench.layout.path.name}-each{'-changed' if changed else ''}"
    if root.is_dir():
        return root
    work = root.with_name(f".{root.name}-{os.getpid()}")
    for image in bench.images[changed]:
        own = Layout(work / "oci" / image.name)
        own.path.mkdir(parents=True)
        shutil.copyfile(bench.layout.path / "oci-layout", own.path / "oci-layout")
        (own.path / "blobs").symlink_to(bench.layout.path / "blobs")
        own.set_index([(bench.layout.describe(image.digest), image.tag)])
        directory = work / "dir" / f"{image.name}:{image.tag}"
        directory.mkdir(parents=True)
        (directory / "version").write_text("Directory Transport Version: 1.1\n")
        for descriptor in bench.layout.walk(image.digest):
            blob = bench.layout.blob_path(descriptor.digest)
            name = descriptor.digest.partition(":")[2] + (".manifest.json" if descriptor.is_manifest else "")
            (directory / ("manifest.json" if descriptor.digest == image.digest else name)).symlink_to(blob)
    whole = Layout(work / "whole")
    whole.path.mkdir()
    shutil.copyfile(bench.layout.path / "oci-layout", whole.path / "oci-layout")
    (whole.path / "blobs").symlink_to(bench.layout.path / "blobs")
    name = "index-changed.json" if changed else "index.json"
    shutil.copyfile(bench.layout.path / name, whole.path / "index.json")
    work.rename(root)
    return root


def airgap(bench: Bench, scenario: str, changed: bool) -> Commands:
    images = bench.layout.path / f"images{'-changed' if changed else ''}.json"
    copy = scenario == "registry_to_registry"
    source = bench.source.endpoint if copy else str(bench.layout.path)
    script = str(CHECKOUT / "dev" / "bench_airgap.py")
    action = "copy" if copy else "push"
    return [
        [
            sys.executable,
            "-I",
            "-S",
            script,
            action,
            source,
            str(images),
            bench.target.endpoint,
            bench.ca,
            str(bench.threads),
        ]
    ]


def run_skopeo(bench: Bench, scenario: str, changed: bool) -> Commands:
    """One copy after the other, which mounts what it sent before; sync where nothing changed, which asks less."""
    each, program = layouts_of_each(bench, changed), bench.programs["skopeo"]
    to_tls = [] if bench.tls else ["--dest-tls-verify=false"]
    if scenario == "noop":
        where = [str(each / "dir"), f"{bench.target.endpoint}/bench"]
        return [[program, "--insecure-policy", "sync", "--all", *to_tls, "--src", "dir", "--dest", "docker", *where]]
    head = [program, "--insecure-policy", "copy", "--quiet", "--all", *to_tls]
    if scenario == "registry_to_registry":
        head += [] if bench.tls else ["--src-tls-verify=false"]
        origin: Callable[[BenchImage], str] = lambda i: f"docker://{bench.source.endpoint}/{i.repo}:{i.tag}"  # noqa: E731
    else:
        origin = lambda i: f"oci:{each / 'whole'}:{i.name}"  # noqa: E731
    return [[*head, origin(i), f"docker://{bench.target.endpoint}/{i.repo}:{i.tag}"] for i in bench.images[changed]]


def run_crane(bench: Bench, scenario: str, changed: bool) -> Commands:
    each, program = layouts_of_each(bench, changed), bench.programs["crane"]
    commands = []
    for i in bench.images[changed]:
        to = f"{bench.target.endpoint}/{i.repo}:{i.tag}"
        if scenario == "registry_to_registry":
            commands.append([program, "copy", f"{bench.source.endpoint}/{i.repo}:{i.tag}", to])
        else:
            index = ["--index"] if bench.layout.describe(i.digest).is_index else []
            commands.append([program, "push", *index, str(each / "oci" / i.name), to])
    return commands


def run_oras(bench: Bench, scenario: str, changed: bool) -> Commands:
    each, program = layouts_of_each(bench, changed), bench.programs["oras"]
    # It takes a registry at localhost for one without TLS, unless told otherwise.
    http = "false" if bench.tls else "true"
    plain = [f"--to-plain-http={http}"]
    commands = []
    for i in bench.images[changed]:
        to = f"{bench.target.endpoint}/{i.repo}:{i.tag}"
        if scenario == "registry_to_registry":
            from_plain = [f"--from-plain-http={http}"]
            commands.append(
                [program, "cp", "--no-tty", *plain, *from_plain, f"{bench.source.endpoint}/{i.repo}:{i.tag}", to]
            )
        else:
            commands.append([program, "cp", "--no-tty", *plain, "--from-oci-layout", f"{each / 'whole'}:{i.name}", to])
    return commands


def run_regctl(bench: Bench, scenario: str, changed: bool) -> Commands:
    each, program = layouts_of_each(bench, changed), bench.programs["regctl"]
    commands = []
    for i in bench.images[changed]:
        hosts = []
        if not bench.tls:
            hosts = [f"--host=reg={server.endpoint},tls=disabled" for server in (bench.target, bench.source)]
        origin = f"ocidir://{each / 'whole'}:{i.name}"
        if scenario == "registry_to_registry":
            origin = f"{bench.source.endpoint}/{i.repo}:{i.tag}"
        commands.append([program, "image", "copy", *hosts, origin, f"{bench.target.endpoint}/{i.repo}:{i.tag}"])
    return commands


TOOLS: dict[str, Callable[[Bench, str, bool], Commands]] = {
    "airgap": airgap,
    "skopeo": run_skopeo,
    "crane": run_crane,
    "oras": run_oras,
    "regctl": run_regctl,
}


def read_bytes_of(server: RegistryServer) -> int:
    """How many bytes the registry's process has read: what came to it over the network, and a little of its own."""
    if server.process is None:
        raise RuntimeError("the registry does not run")
    lines = Path(f"/proc/{server.process.pid}/io").read_text().splitlines()
    return int(next(line.partition(":")[2] for line in lines if line.startswith("rchar")))


def measured(bench: Bench, commands: Commands) -> dict[str, Any]:
    """Run the commands of one tool and read what it and the registry say."""
    output = WORK / "mirror-output.txt"
    plan = WORK / "mirror-commands.json"
    environment = {"HOME": str(WORK / "home")}
    if bench.tls:
        environment["SSL_CERT_FILE"] = bench.ca
    plan.write_text(json.dumps({"commands": commands, "env": environment, "output": str(output)}))
    requests = len(bench.target.requests()) + len(bench.source.requests())
    read = read_bytes_of(bench.target)
    runner = [sys.executable, "-I", "-S", str(CHECKOUT / "dev" / "bench_run.py"), str(plan)]
    done = subprocess.run(runner, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{done.stdout}{done.stderr}\n{output.read_text()[-2000:]}")
    figures: dict[str, Any] = json.loads(done.stdout)
    time.sleep(0.2)  # the last line of the access log
    figures["requests"] = len(bench.target.requests()) + len(bench.source.requests()) - requests
    figures["bytes_sent"] = read_bytes_of(bench.target) - read
    said = output.read_text().rpartition('"engine_seconds": ')[2].partition("}")[0]
    if any("bench_airgap.py" in word for command in commands for word in command):
        figures["engine_seconds"] = float(said)
    return figures


def same_digests(bench: Bench, changed: bool) -> int:
    """How many of the images the registry holds with the digest that they have here."""
    with client_of(bench.target) as registry:
        found = [registry.head_manifest(image.repo, image.tag) for image in bench.images[changed]]
    return sum(1 for image, there in zip(bench.images[changed], found) if there and there.digest == image.digest)


def client_of(server: RegistryServer) -> Registry:
    ca_file = str(server.ca_file) if server.tls else None
    return Registry(server.endpoint, ca_file=ca_file, plain_http=not server.tls)


def note(bench: Bench, scenario: str, tool: str, figures: dict[str, Any], same: int) -> None:
    key = (scenario, bench.tls, tool)
    number = 1 + sum(1 for one in bench.records if (one["scenario"], one["tls"], one["tool"]) == key)
    record = {"scenario": scenario, "tls": bench.tls, "tool": tool, "round": number, **figures, "same_digests": same}
    record["seconds"] = round(record["seconds"], 3)
    record["client_cpu_seconds"] = round(record["client_cpu_seconds"], 3)
    bench.records.append(record)
    if "engine_seconds" in record:
        record["engine_seconds"] = round(record["engine_seconds"], 3)
    print(
        f"{scenario:21} {'https' if bench.tls else 'http ':5} {tool:7} round {number}: {record['seconds']:7.2f} s"
        f"{' (engine {:.3f} s)'.format(record['engine_seconds']) if 'engine_seconds' in record else ''},"
        f" client cpu {record['client_cpu_seconds']:6.2f} s, {record['peak_rss_bytes'] / 2**20:4.0f} MiB,"
        f" {record['requests']:4} requests, {record['bytes_sent'] / 1e6:8.1f} MB, {same} digests kept",
        flush=True,
    )


def one_round(bench: Bench, tool: str, scenarios: list[str]) -> None:
    """All scenarios of one tool; the later ones need what `cold` left."""
    if {"cold", "noop", "one_layer"} & set(scenarios):
        bench.forget()
        for scenario, changed in (("cold", False), ("noop", False), ("one_layer", True)):
            if scenario != "cold" and scenario not in scenarios:
                continue
            commands = TOOLS[tool](bench, scenario, changed)
            times = NOOPS if scenario == "noop" and scenario in scenarios else 1
            runs = sorted((measured(bench, commands) for _run in range(times)), key=lambda run: run["seconds"])
            figures = runs[len(runs) // 2]
            if scenario in scenarios:
                note(bench, scenario, tool, figures, same_digests(bench, changed))
    if "registry_to_registry" in scenarios:
        bench.forget()
        commands = TOOLS[tool](bench, "registry_to_registry", False)
        note(bench, "registry_to_registry", tool, measured(bench, commands), same_digests(bench, False))


def work_of(bench: Bench, tools: list[str], scenarios: list[str], rounds: int, short: bool) -> Iterator[Work]:
    """What the record lacks, in order: of a tool, scenarios that are measured together."""

    def lacks(scenario: str, tool: str, number: int) -> bool:
        key = (scenario, bench.tls, tool)
        return number > sum(1 for one in bench.records if (one["scenario"], one["tls"], one["tool"]) == key)

    for number in range(1, rounds + 1):
        # Another tool begins each round, so that no place in the order is always the same tool's.
        first = (number - 1) % len(tools)
        for together in (SCENARIOS[:3], SCENARIOS[3:4]):
            for tool in tools[first:] + tools[:first]:
                todo = [one for one in together if one in scenarios and lacks(one, tool, number)]
                todo = [one for one in todo if not (short and out_of_the_race(bench, one, tool))]
                if todo:
                    yield tool, todo
    for scenario in SCENARIOS[4:]:
        if scenario in scenarios and lacks(scenario, "airgap", 1):
            yield "airgap", [scenario]


def one_piece(bench: Bench, tool: str, scenarios: list[str]) -> None:
    """One of these pieces of work."""
    if scenarios == ["large_blob"]:
        large_blob(bench)
    elif scenarios == ["noop_ansible"]:
        noop_ansible(bench)
    else:
        one_round(bench, tool, scenarios)


def out_of_the_race(bench: Bench, scenario: str, tool: str) -> bool:
    """Whether a peer took half as long again as the fastest one in a round before, and so cannot be the fastest."""
    seconds: dict[str, float] = {}
    for record in bench.records:
        if (record["scenario"], record["tls"]) == (scenario, bench.tls) and record["tool"] != "airgap":
            seconds[record["tool"]] = min(record["seconds"], seconds.get(record["tool"], record["seconds"]))
    first = len(seconds) < len(bench.programs)
    return not first and tool in seconds and seconds[tool] > 1.5 * min(seconds.values())


def large_blob(bench: Bench) -> None:
    """Ours with a blob of 4 GiB: memory has to stay flat."""
    directory = WORK / "large"
    layout = Layout(directory)
    if not (directory / "images.json").is_file():
        shutil.rmtree(directory, ignore_errors=True)
        layout.create()
        hasher, zeros = hashlib.sha256(), bytes(1 << 20)
        for _piece in range(LARGE >> 20):
            hasher.update(zeros)
        digest = "sha256:" + hasher.hexdigest()
        with layout.blob_path(digest).open("wb") as stream:
            stream.truncate(LARGE)  # no room on the disk here; the registry writes all of it
        config, size = layout.add_json({"os": "linux", "architecture": "amd64"})
        manifest = layout.add_json(
            {
                "schemaVersion": 2,
                "mediaType": MEDIA_MANIFEST,
                "config": {"mediaType": MEDIA_CONFIG, "digest": config, "size": size},
                "layers": [{"mediaType": MEDIA_LAYER_TAR, "digest": digest, "size": LARGE}],
            }
        )[0]
        (directory / "images.json").write_text(json.dumps([{"repo": "bench/large", "tag": "1", "digest": manifest}]))
    bench.forget()
    sized = Bench(
        layout,
        bench.target,
        bench.source,
        {False: read_images(directory)},
        bench.programs,
        bench.threads,
        bench.records,
    )
    note(bench, "large_blob", "airgap", measured(sized, airgap(sized, "cold", False)), same_digests(sized, False))
    bench.forget()


def noop_ansible(bench: Bench) -> None:
    """What Ansible adds: the module through ansible-playbook, where nothing is to be done."""
    bundle = WORK / "mirror-bundle"
    shutil.rmtree(bundle, ignore_errors=True)
    bundle.mkdir()
    (bundle / "oci").symlink_to(bench.layout.path)
    reason = {"source": "bench", "kind": "", "name": "", "path": "", "found": "", "needed": "always"}
    images = [
        {
            "reference": f"quay.io/{i.repo}:{i.tag}",
            "digest": i.digest,
            "size": sum(found.size for found in bench.layout.walk(i.digest)),
            "platforms": [],
            "reasons": [reason],
        }
        for i in bench.images[False]
    ]
    write_lock(bundle, bench.layout, images=images)
    bench.forget()  # before its address is written down
    arguments: dict[str, Any] = {"bundle": str(bundle), "registry": bench.target.endpoint, "plain_http": not bench.tls}
    if bench.tls:
        arguments["ca_file"] = bench.ca
    task = {"name": "Mirror", "airgap.speech.image_mirror": arguments, "register": "done"}
    say = {"name": "Say", "ansible.builtin.debug": {"msg": "engine {{ done.seconds }} s"}}
    play = [{"name": "Bench", "hosts": "localhost", "gather_facts": False, "tasks": [task, say]}]
    playbook = WORK / "mirror-playbook.json"
    playbook.write_text(json.dumps(play))
    interpreter = ["-e", f"ansible_python_interpreter={sys.executable}"]
    command = [[str(CHECKOUT / ".venv/bin/ansible-playbook"), "-i", "localhost,", "-c", "local", str(playbook)]]
    command[0] += interpreter
    measured(bench, command)
    figures = measured(bench, command)
    said = (WORK / "mirror-output.txt").read_text()
    figures["engine_seconds"] = float(said.partition("engine ")[2].partition(" s")[0])
    note(bench, "noop_ansible", "airgap", figures, len(bench.images[False]))


def clean() -> None:
    """Remove the image set and the registries: what slices share."""
    for path in [*WORK.glob("images-*"), *(WORK / name for name in ("large", "registry-source", "registry-target"))]:
        shutil.rmtree(path, ignore_errors=True)


def median_of(records: list[dict[str, Any]], scenario: str, tls: bool, tool: str, figure: str) -> float | None:
    """The median of one figure over the rounds; nothing where it was not measured."""
    key = (scenario, tls, tool)
    found = [one[figure] for one in records if (one["scenario"], one["tls"], one["tool"]) == key and figure in one]
    return statistics.median(found) if found else None


def ratios(records: list[dict[str, Any]], unique: int) -> list[dict[str, Any]]:
    """Ours against the fastest peer, by the median of the rounds."""
    found = []
    for scenario in SCENARIOS[:4]:
        for tls in (False, True):
            each = {tool: median_of(records, scenario, tls, tool, "seconds") for tool in TOOLS}
            medians = {tool: seconds for tool, seconds in each.items() if seconds is not None}
            ours = medians.pop("airgap", None)
            ours_inside = median_of(records, scenario, tls, "airgap", "engine_seconds")
            if ours is None or not medians:
                continue
            fastest = min(medians, key=lambda tool: medians[tool])
            entry = {"scenario": scenario, "tls": tls, "airgap_seconds": ours, "fastest_peer": fastest}
            entry |= {"peer_seconds": medians[fastest], "ratio": round(ours / medians[fastest], 3)}
            if ours_inside is not None:
                entry |= {"engine_seconds": ours_inside, "engine_ratio": round(ours_inside / medians[fastest], 3)}
            found.append(entry)
    for entry in found:
        engine = ", engine {engine_seconds:.3f} s: {engine_ratio:.2f}" if "engine_ratio" in entry else ""
        print(
            f"{entry['scenario']:21} {'https' if entry['tls'] else 'http '}: ours {entry['airgap_seconds']:.2f} s,"
            f" {entry['fastest_peer']} {entry['peer_seconds']:.2f} s: {entry['ratio']:.2f}{engine.format(**entry)}"
        )
    for record in records:
        if record["tool"] == "airgap" and record["scenario"] in ("cold", "registry_to_registry"):
            print(
                f"{record['scenario']}: {record['bytes_sent'] / unique:.4f} of the unique bytes,"
                f" peak {record['peak_rss_bytes'] / 2**20:.0f} MiB"
            )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--short", action="store_true", help="only ours and the fastest peers after the first round")
    parser.add_argument("--tls", choices=("no", "yes", "both"), default="both")
    parser.add_argument("--scenario", action="append", choices=SCENARIOS)
    parser.add_argument("--tool", action="append", choices=tuple(TOOLS))
    parser.add_argument("--threads", type=int, default=2, help="of ours")
    parser.add_argument("--scale", type=float, default=1.0, help="of every layer; for a quick try")
    parser.add_argument("--result", type=Path, default=RESULT)
    parser.add_argument("--keep", action="store_true", help="add to the records of the last run")
    parser.add_argument("--minutes", type=float, default=0, help="begin nothing more after so many, 0 for no end")
    parser.add_argument("--clean", action="store_true", help="only remove the image set and the registries")
    args = parser.parse_args()
    if args.clean:
        clean()
        return 0
    scenarios, tools = args.scenario or list(SCENARIOS), args.tool or list(TOOLS)
    layout, images = make_images(args.scale)
    unique = sum(blob.size for blob in unique_blobs(layout, images).values())
    programs = {name: str(build_peer(name)) for name in PEERS if name in tools}
    if "skopeo" in tools:
        programs["skopeo"] = str(skopeo())
    binary = build_registry()
    records: list[dict[str, Any]] = []
    if args.keep and args.result.is_file():
        records = json.loads(args.result.read_text())
    end = time.monotonic() + 60 * args.minutes if args.minutes else float("inf")
    left = 0
    both = {False: images, True: read_images(layout.path, changed=True)}
    for tls in {"no": (False,), "yes": (True,), "both": (False, True)}[args.tls]:
        target = RegistryServer(WORK / "registry-target", binary, tls=tls, auth=False)
        source = RegistryServer(WORK / "registry-source", binary, tls=tls, auth=False)
        # One CA for both, so that one file serves every tool.
        source.ca_file, source._certificate, source._key = target.ca_file, target._certificate, target._key
        bench = Bench(layout, target, source, both, programs, args.threads, records)
        try:
            source.log.unlink(missing_ok=True)
            source.start()
            if "registry_to_registry" in scenarios:
                with client_of(source) as registry:
                    plan = plan_push(layout, items_of(images), registry)
                    if plan.changed:
                        push(plan, registry)
            for tool, together in work_of(bench, tools, scenarios, args.rounds, args.short):
                if time.monotonic() > end:
                    left += len(together)
                    continue
                one_piece(bench, tool, together)
                args.result.write_text(json.dumps(records, indent=1) + "\n")
        finally:
            args.result.write_text(json.dumps(records, indent=1) + "\n")
            target.stop()
            source.stop()
            shutil.rmtree(target.storage, ignore_errors=True)
    args.result.with_name(f"{args.result.stem}-ratios.json").write_text(
        json.dumps(ratios(records, unique), indent=1) + "\n"
    )
    print(f"{left} measurements are left: the same command again goes on there" if left else "nothing is left")
    return 0


if __name__ == "__main__":
    sys.exit(main())
