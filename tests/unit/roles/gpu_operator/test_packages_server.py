# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real server on the loopback, and real apt, which reads the role's list and trusts its CA."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.bundle.debs import deb_index

CHECKOUT = Path(__file__).resolve().parents[4]
SERVER = CHECKOUT / "roles/gpu_operator/files/packages_server.py"
HEADERS = "linux-headers-6.1.0-1-amd64"


def run(argv: list[str]) -> tuple[int, str, str]:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def made(*argv: str) -> None:
    rc, out, err = run(list(argv))
    assert rc == 0, out + err


@pytest.fixture(scope="module")
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Path]:
    """A CA, a certificate of it, a repository with one package, and the server."""
    folder = tmp_path_factory.mktemp("packages")
    control = folder / "deb" / "DEBIAN" / "control"
    control.parent.mkdir(parents=True)
    control.write_text(
        f"Package: {HEADERS}\nVersion: 6.1\nArchitecture: amd64\nMaintainer: T <t@example.test>\nDescription: headers\n"
    )
    repository = folder / "www" / "headers"
    repository.mkdir(parents=True)
    made(
        "dpkg-deb",
        "--root-owner-group",
        "-Zgzip",
        "--build",
        str(folder / "deb"),
        str(repository / f"{HEADERS}_6.1_amd64.deb"),
    )
    for name, data in deb_index(str(repository), [f"{HEADERS}_6.1_amd64.deb"], run).items():
        (repository / name).write_bytes(data)
    key, request, extension = str(folder / "s.key"), str(folder / "s.csr"), folder / "ext"
    extension.write_text("subjectAltName=DNS:localhost\n")
    ca, ca_key = str(folder / "ca.crt"), str(folder / "ca.key")
    made(
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-keyout",
        ca_key,
        "-out",
        ca,
        "-subj",
        "/CN=CA",
    )
    made("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request, "-subj", "/CN=localhost")
    sign = ["openssl", "x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2"]
    made(*sign, "-extfile", str(extension), "-out", str(folder / "s.crt"))
    (folder / "tls.pem").write_text((folder / "s.crt").read_text() + Path(key).read_text())
    argv = [sys.executable, str(SERVER), "127.0.0.1", str(port), str(folder / "tls.pem"), str(folder / "www")]
    with subprocess.Popen(argv, stderr=subprocess.PIPE) as process:
        while True:
            assert process.poll() is None, process.stderr and process.stderr.read()
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield folder
        process.terminate()


def get(folder: Path, url: str) -> bytes:
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    with opener.open(url) as answer:
        data: bytes = answer.read()
        return data


def test_files_and_no_lists(folder: Path, port: int) -> None:
    assert HEADERS.encode() in get(folder, f"https://localhost:{port}/headers/Packages")
    for path in ("headers/", "", "headers/none.deb", "../../etc/passwd"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(folder, f"https://localhost:{port}/{path}")


def test_a_client_that_says_nothing_holds_up_nobody(folder: Path, port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)):
        assert get(folder, f"https://localhost:{port}/headers/Release")


@pytest.mark.skipif(not shutil.which("apt-get"), reason="no apt on this machine")
def test_apt_takes_a_package_by_the_roles_list(folder: Path, port: int, render: Callable[..., Any]) -> None:
    site = {
        "airgap_registry": "localhost:5000",
        "gpu_operator_vendor": "nvidia",
        "gpu_operator_driver_mode": "operator",
    }
    given = {"gpu_operator_packages": "headers", "gpu_operator_packages_address": f"localhost:{port}"}
    files = render("gpu_operator", "__gpu_operator_repo_files", **site, **given)
    apt = folder / "apt"
    for name in ("lists/partial", "archives/partial", "sources.list.d", "got"):
        (apt / name).mkdir(parents=True)
    (apt / "status").write_text("")
    for name, text in files.items():
        (apt / "sources.list.d" / name).write_text(text)
    options = {
        "Dir::State": str(apt),
        "Dir::State::status": str(apt / "status"),
        "Dir::State::lists": str(apt / "lists"),
        "Dir::Cache": str(apt),
        "Dir::Etc::sourcelist": str(apt / "none"),
        "Dir::Etc::sourceparts": str(apt / "sources.list.d"),
        "Acquire::https::CaInfo": str(folder / "ca.crt"),
        "Acquire::https::Proxy": "DIRECT",
        "APT::Architecture": "amd64",
        "APT::Sandbox::User": "root",
    }
    given_options = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    made("apt-get", *given_options, "update", "--error-on=any")
    done = subprocess.run(
        ["apt-get", *given_options, "download", HEADERS], cwd=apt / "got", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (apt / "got").iterdir()] == [f"{HEADERS}_6.1_amd64.deb"]
