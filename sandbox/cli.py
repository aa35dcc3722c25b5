# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of the sandbox."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from typing import Any

import yaml

from sandbox import egress, lifecycle, pools, recorder, upstream
from sandbox.build import Builder
from sandbox.cluster import answers
from sandbox.containers import inspect
from sandbox.copy import copy_in
from sandbox.host import engine_answers
from sandbox.run import SandboxError, Steps
from sandbox.settings import Settings, load_config, parse_settings, versions


def parser() -> argparse.ArgumentParser:
    main_parser = argparse.ArgumentParser(prog="python -m sandbox", description=__import__("sandbox").__doc__)
    commands = main_parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, help_text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=help_text, description=help_text)
        made.add_argument("--name", default="airgap", help="name of the sandbox (default: airgap)")
        return made

    bring_up = command("up", "make the sandbox, or put it right; a second run changes nothing")
    bring_up.add_argument("--subnet", help="address range of the inside (default: 10.89.0.0/16)")
    bring_up.add_argument("--workers", type=int, help="number of workers (default: 1)")
    bring_up.add_argument("--fresh", action="store_true", help="make the inside anew where it is there already")
    bring_up.add_argument("--config", metavar="FILE", help="YAML with subnet, workers, pools")
    take_down = command("down", "remove the sandbox; what was built stays in the cache")
    take_down.add_argument("--all", action="store_true", help="every sandbox of this user")
    command("reset", "put the inside back to what it was after the first `up`")
    command("status", "say what runs")
    counted = command("egress", "print as JSON what tried to leave")
    counted.add_argument("--zero", action="store_true", help="set the counters to zero")
    execute = command("exec", "run a command in an inside host: exec HOST -- COMMAND ...")
    execute.add_argument("--user", help="user (default: ops on the bastion, else root)")
    execute.add_argument("--tty", action="store_true", help="give the command a terminal")
    execute.add_argument("host")
    execute.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- COMMAND ...")
    copy = command("copy", "copy a file or directory into an inside host: copy SRC HOST:DST")
    copy.add_argument("--user", help="owner of what is copied (default: ops)")
    copy.add_argument("source")
    copy.add_argument("target", metavar="HOST:DST")
    command("vars", "print variables for the connected side as YAML")
    record = command("recorder", "keep the command lines of all processes of this machine")
    record.add_argument("action", choices=["start", "stop", "status"])
    simulate = command("pools", "make simulated node pools as a YAML file lists them")
    simulate.add_argument("file")
    built = command("build", "build the tools and print where each is")
    built.add_argument("tool", nargs="*", help="only these")
    return main_parser


def existing(name: str) -> Settings:
    settings = lifecycle.saved(name)
    if settings is None:
        raise SandboxError(f"there is no sandbox {name}; run `python -m sandbox up --name {name}`")
    return settings


def said(steps: Steps, what: str) -> None:
    steps.say(f"{what}: " + (f"{steps.changed} changes" if steps.changed else "nothing changed"))


def run_up(options: argparse.Namespace) -> None:
    config = load_config(options.config)
    before = lifecycle.saved(options.name)
    if before is not None:  # what was said at the first time holds until it is said otherwise
        config = {"subnet": str(before.subnet), "workers": before.workers, **config}
    settings = parse_settings(options.name, options.subnet, options.workers, config)
    simulated = pools.check_pools(config["pools"] or [], options.config) if "pools" in config else None
    steps = Steps()
    lifecycle.up(settings, simulated, steps, options.fresh)
    said(steps, f"sandbox {settings.name} is up ({settings.subnet}; KUBECONFIG={settings.state / 'kubeconfig'})")


def run_down(options: argparse.Namespace) -> None:
    steps = Steps()
    for name in lifecycle.names() if options.all else [options.name]:
        lifecycle.down(name, steps)
    said(steps, "down")


def run_status(options: argparse.Namespace) -> int:
    settings = existing(options.name)
    state: dict[str, Any] = {"name": settings.name, "subnet": str(settings.subnet), "hosts": {}}
    healthy = engine_answers()
    for host in (*settings.hosts, "upstream") if healthy else ():
        found = inspect(settings.container(host))
        state["hosts"][host] = found["State"]["Status"] if found else "missing"
        healthy = healthy and state["hosts"][host] == "running"
    state["api"] = "ready" if healthy and answers(settings, "/readyz") else "does not answer"
    state["kubeconfig"] = str(settings.state / "kubeconfig")
    print(yaml.safe_dump(state, sort_keys=False), end="")
    return 0 if healthy and state["api"] == "ready" else 1


def run_exec(options: argparse.Namespace) -> int:
    settings = existing(options.name)
    argv = options.argv[1:] if options.argv[:1] == ["--"] else options.argv
    if not argv:
        raise SandboxError("no command given: exec HOST -- COMMAND ...")
    user = options.user or ("ops" if options.host == "bastion" else "root")
    flags = ["-i", *(["-t"] if options.tty else []), "--user", user]
    if user == "ops":
        flags += ["--env", "HOME=/home/ops", "--env", "USER=ops", "--env", "LANG=C.UTF-8", "--workdir", "/home/ops"]
    return subprocess.run(["docker", "exec", *flags, settings.container(options.host), *argv], check=False).returncode


def run_recorder(options: argparse.Namespace) -> None:
    steps = Steps()
    if options.action == "start":
        print(recorder.start(steps))
    elif options.action == "stop":
        path, count = recorder.stop(steps)
        print(json.dumps({"file": str(path), "commands": count}))
    else:
        print(json.dumps(recorder.status()))


def run_build(options: argparse.Namespace) -> None:
    unknown = sorted(set(options.tool) - set(versions()["go"]))
    if unknown:
        raise SandboxError(f"no tool {unknown[0]}; known are {', '.join(versions()['go'])}")
    builder = Builder(Steps(), options.tool)
    try:
        for tool, path in builder.get_all().items():
            print(f"{tool}: {path}")
    finally:
        builder.close()


def dispatch(options: argparse.Namespace) -> int:
    command = options.command
    if command == "up":
        run_up(options)
    elif command == "down":
        run_down(options)
    elif command == "reset":
        steps = Steps()
        lifecycle.reset(existing(options.name), steps)
        said(steps, "reset")
    elif command == "status":
        return run_status(options)
    elif command == "egress":
        settings = existing(options.name)
        if options.zero:
            egress.zero(settings)
        print(json.dumps(egress.report(settings), indent=2))
    elif command == "exec":
        return run_exec(options)
    elif command == "copy":
        copy_in(existing(options.name), options.source, options.target, options.user or "ops")
    elif command == "vars":
        print(yaml.safe_dump(upstream.variables(existing(options.name)), sort_keys=False), end="")
    elif command == "recorder":
        run_recorder(options)
    elif command == "pools":
        steps = Steps()
        pools.apply_pools(existing(options.name), pools.load_pools(options.file), steps)
        said(steps, "pools")
    elif command == "build":
        run_build(options)
    return 0


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    os.umask(0o022)
    try:
        return dispatch(options)
    except SandboxError as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("sandbox: stopped; run the same command again to go on", file=sys.stderr)
        return 130
