# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `helm test` asks each Service: ready, its models with a key, and a refusal without one."""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path


def ask(url: str, key: str | None = None) -> tuple[int, bytes]:
    """Status and body of one GET."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the chart writes the address
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def ready(url: str, deadline: float) -> None:
    """Wait until the Service answers that it is ready."""
    while True:
        try:
            status, _body = ask(f"{url}/healthz/ready")
            said = f"HTTP {status}"
        except OSError as error:
            status, said = 0, str(error)
        if status == 200:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"{url}/healthz/ready: {said}, wanted HTTP 200")
        time.sleep(1)


def check(url: str, models: list[str], key: str, deadline: float) -> None:
    """One Service, from end to end."""
    ready(url, deadline)
    for wrong in (None, key + "-not"):
        status, _body = ask(f"{url}/v1/models", wrong)
        if status != 401:
            raise RuntimeError(f"{url}/v1/models with {'a wrong' if wrong else 'no'} key: HTTP {status}, wanted 401")
    status, body = ask(f"{url}/v1/models", key)
    if status != 200:
        raise RuntimeError(f"{url}/v1/models with a key of the Secret: HTTP {status}, wanted 200")
    served = {model["id"] for model in json.loads(body)["data"]}
    missing = [model for model in models if model not in served]
    if missing:
        raise RuntimeError(f"{url}/v1/models: {', '.join(missing)} not served, only {', '.join(sorted(served))}")
    print(f"{url}: ready, serves {', '.join(sorted(served))}, refuses what has no key")


def main() -> int:
    """Exit status 0 when every Service is as it should be."""
    keys = Path(os.environ["OPEN_SPEECH_API_KEYS_DIR"])
    files = sorted(file for file in keys.iterdir() if file.is_file() and not file.name.startswith("."))
    if not files:
        print(f"{keys}: the Secret holds no key; add one", file=sys.stderr)
        return 1
    key = files[0].read_text(encoding="utf-8").strip()
    deadline = time.monotonic() + float(os.environ["TIMEOUT_SECONDS"])
    try:
        for service in json.loads(os.environ["SERVICES"]):
            check(service["url"], service["models"], key, deadline)
    except (OSError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
