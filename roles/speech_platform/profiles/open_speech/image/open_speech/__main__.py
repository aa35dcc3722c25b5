# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m open_speech`: serve until SIGTERM; exit status 78 when the configuration or a model is not right."""

from __future__ import annotations

import os
import signal
import sys

from . import logs
from .config import Config
from .errors import EX_CONFIG, StartError


def main() -> int:
    logs.configure()
    # No library may look up a model on a hub or report home, whatever the image's environment says.
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        config = Config.from_env(os.environ)
        os.environ.setdefault("OMP_NUM_THREADS", str(config.threads))
        return _serve(config)
    except StartError as error:
        return _stop(error)


def _stop(error: StartError) -> int:
    print(f"open_speech: cannot start: {error}", file=sys.stderr, flush=True)
    return EX_CONFIG


def _serve(config: Config) -> int:
    import uvicorn

    from .app import create_app
    from .keys import KeyStore
    from .service import Service

    keys = KeyStore(config.api_keys_dir, config.api_keys_file, allow_anonymous=config.allow_anonymous)
    service = Service(config, keys)
    server: uvicorn.Server

    def on_failure() -> None:
        server.should_exit = True

    server = uvicorn.Server(
        uvicorn.Config(
            create_app(service, on_failure=on_failure),
            host=config.host,
            port=config.port,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            lifespan="on",
            timeout_keep_alive=65,
            timeout_graceful_shutdown=config.drain_seconds,
        )
    )
    # uvicorn finishes the requests under way on SIGTERM and then raises the signal again; the second one ends nothing.
    signal.signal(signal.SIGTERM, lambda *_args: None)
    server.run()
    return _stop(service.failure) if service.failure else 0


if __name__ == "__main__":
    sys.exit(main())
