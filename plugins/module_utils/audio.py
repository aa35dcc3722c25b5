# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The length of a recording, as far as the standard library can tell."""

from __future__ import annotations

import struct
from typing import Optional


def wav_seconds(data: bytes) -> Optional[float]:
    """Seconds of sound in a RIFF WAVE file; None for every other format.

    The header of a streamed file may promise more than there is: what is there counts.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return None
    rate = 0
    at = 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        at += 8
        if name == b"fmt " and size >= 16 and at + 16 <= len(data):
            rate = struct.unpack_from("<I", data, at + 8)[0]
        elif name == b"data":
            return min(size, len(data) - at) / rate if rate else None
        at += size + (size & 1)
    return None
