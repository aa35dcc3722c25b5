# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""API keys: read from a directory (one file a key, as a mounted Secret has them) or a file, and re-read on change."""

from __future__ import annotations

import hashlib
import hmac
import logging
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

from .errors import StartError

_LOGGER = logging.getLogger("open_speech.keys")

_Signature = tuple[tuple[str, int, int, int], ...]


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


class KeyStore:
    """The keys that are good now. Only their SHA-256 digests are kept, and only their names are ever logged."""

    def __init__(
        self,
        directory: Path | None,
        file: Path | None,
        *,
        allow_anonymous: bool = False,
        every_seconds: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._file = file
        self._every = every_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._signature = self._look()
        self._keys = self._read()
        self._looked = clock()
        if not self._keys and not allow_anonymous:
            places = " and ".join(str(place) for place in (directory, file) if place is not None)
            raise StartError(
                f"API keys: none found in {places}; add one to the Secret"
                if places
                else "API keys: none configured; set OPEN_SPEECH_API_KEYS_DIR to a mounted Secret, "
                "or OPEN_SPEECH_ALLOW_ANONYMOUS=true to serve everybody"
            )
        # Anonymous access ends for good with the first key: an emptied Secret must not open the door.
        self._anonymous = not self._keys

    @property
    def anonymous(self) -> bool:
        """True while no key was ever there and anonymous access is allowed."""
        return self._anonymous

    @property
    def names(self) -> list[str]:
        return sorted(self._keys)

    def name_of(self, candidate: str | None) -> str | None:
        """Name of the key that `candidate` is, or None; how long it takes does not tell how much is right."""
        self._refresh()
        if self._anonymous:
            return "anonymous"
        digest = _digest(candidate or "")
        found = None
        for name, known in self._keys.items():
            if hmac.compare_digest(digest, known):
                found = name
        return found if candidate else None

    def _refresh(self) -> None:
        with self._lock:
            now = self._clock()
            if now - self._looked < self._every:
                return
            self._looked = now
            try:
                signature = self._look()
                if signature == self._signature:
                    return
                keys = self._read()
            except (OSError, UnicodeDecodeError, StartError) as error:
                # A Secret is swapped in one step, so this is a fault of the volume: the keys known so far stay good.
                _LOGGER.error("API keys cannot be read again (%s); the %d known keys stay", error, len(self._keys))
                return
            self._signature = signature
            self._keys = keys
            if keys:
                self._anonymous = False
                _LOGGER.info("API keys read again: %s", ", ".join(sorted(keys)))
            else:
                _LOGGER.warning("API keys read again: none left, every request is refused; add one to the Secret")

    def _files(self) -> list[Path]:
        files = []
        if self._directory is not None:
            try:
                entries = sorted(self._directory.iterdir())
            except FileNotFoundError:
                entries = []
            # ..data and ..2026_01_01 are how the kubelet swaps a Secret; the keys themselves are links through them.
            files += [entry for entry in entries if not entry.name.startswith(".") and entry.is_file()]
        if self._file is not None and self._file.is_file():
            files.append(self._file)
        return files

    def _look(self) -> _Signature:
        try:
            return tuple((str(file), *self._stat(file)) for file in self._files())
        except OSError as error:
            raise StartError(
                f"API keys: {error}; make them readable for uid 65532 (a Secret's defaultMode 0440)"
            ) from None

    @staticmethod
    def _stat(file: Path) -> tuple[int, int, int]:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{file} is not a regular file")
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _read(self) -> dict[str, bytes]:
        keys: dict[str, bytes] = {}
        for file in self._files():
            try:
                text = file.read_text(encoding="utf-8")
            except OSError as error:
                raise StartError(
                    f"API keys: {file}: {error.strerror}; make it readable for uid 65532 (a Secret's defaultMode 0440)"
                ) from None
            except UnicodeDecodeError:
                raise StartError(f"API keys: {file}: not UTF-8 text; write the key as text") from None
            if file == self._file:
                lines = [line.strip() for line in text.splitlines()]
                found = [line for line in lines if line and not line.startswith("#")]
                keys.update({f"{file.name}:{number}": _digest(key) for number, key in enumerate(found, start=1)})
            elif text.strip():
                keys[file.name] = _digest(text.strip())
            else:
                _LOGGER.warning("API key %s is empty and is left out", file.name)
        return keys


def presented(authorization: str | None, x_api_key: str | None) -> str | None:
    """The key that a request carries: `Authorization: Bearer`, as OpenAI's clients send it, or `X-API-Key`."""
    if authorization:
        scheme, _space, value = authorization.partition(" ")
        if scheme.lower() == "bearer" and value.strip():
            return value.strip()
    return x_api_key.strip() if x_api_key and x_api_key.strip() else None
