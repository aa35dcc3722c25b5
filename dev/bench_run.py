# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run commands one after the other and say what they took: `python -I -S bench_run.py COMMANDS.json`.

A small process of its own: the peak of memory that the kernel reports for a child is never below that of the process
that started it.
"""

import json
import os
import sys
import time


def main() -> int:
    with open(sys.argv[1]) as stream:
        plan = json.load(stream)
    environment = {**os.environ, **plan["env"]}
    output = os.open(plan["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    cpu, peak, disk = 0.0, 0, 0
    began = time.monotonic()
    for argv in plan["commands"]:
        pid = os.fork()
        if pid == 0:
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.execvpe(argv[0], argv, environment)  # noqa: S606 - no shell is wanted
        _pid, status, usage = os.wait4(pid, 0)
        cpu += usage.ru_utime + usage.ru_stime
        peak = max(peak, usage.ru_maxrss * 1024)
        disk += usage.ru_oublock * 512
        if status:
            print(json.dumps({"failed": argv, "status": os.waitstatus_to_exitcode(status)}))
            return 1
    seconds = time.monotonic() - began
    print(json.dumps({"seconds": seconds, "client_cpu_seconds": cpu, "peak_rss_bytes": peak, "disk_bytes": disk}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
