# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""containerd's store on a node: blobs are hashed, unpacked layers compared with them, and what is damaged is healed.

A pull looks only at whether a blob or a snapshot is there, so what a cut of power tore stays torn until it is removed.
A damaged blob is removed and fetched again by digest, by the hosts files of the node. A damaged snapshot is removed
with those upon it and unpacked again; one that a container stands on is only named.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import stat
import tarfile
from dataclasses import dataclass, field
from typing import IO, Any, Callable, Dict, Iterator, List, Optional, Sequence, Set, Tuple

Run = Callable[[Sequence[str]], Tuple[int, str, str]]

_PIECE = 1 << 20
_BLOBS = "io.containerd.content.v1.content/blobs/sha256"
_LOOK = "airgap-speech-look"
# Snapshotters that keep a layer as a directory of files of its own.
_DIRECTORIES = ("overlayfs",)


class StoreError(Exception):
    """containerd does not answer; the message says what to do."""


@dataclass
class Image:
    """One name of an image, and what of it this node needs."""

    name: str
    digest: str
    blobs: Set[str] = field(default_factory=set)  # manifests, configs and layers, of the platforms that are here
    layers: List[Tuple[str, str, str]] = field(default_factory=list)  # blob, key of the snapshot, media type


@dataclass
class Report:
    """What was looked at, what is wrong with it, and what became of that."""

    blobs: int = 0
    bytes: int = 0
    snapshots: int = 0
    damaged: Dict[str, str] = field(default_factory=dict)  # digest or key -> why
    healed: List[str] = field(default_factory=list)
    failed: Dict[str, str] = field(default_factory=dict)  # digest or key -> why it is still damaged
    unchecked: Dict[str, str] = field(default_factory=dict)  # key -> why it could not be compared


def chain_ids(diff_ids: Sequence[str]) -> List[str]:
    """The keys of the snapshots of layers, by the OCI image specification."""
    keys: List[str] = []
    for diff_id in diff_ids:
        keys.append(f"sha256:{hashlib.sha256(f'{keys[-1]} {diff_id}'.encode()).hexdigest()}" if keys else diff_id)
    return keys


class Store:
    """The store of one namespace, asked through ctr."""

    def __init__(
        self,
        run: Run,
        *,
        root: str = "/var/lib/containerd",
        ctr: str = "ctr",
        socket: str = "/run/containerd/containerd.sock",
        snapshotter: str = "overlayfs",
        hosts_dir: str = "/etc/containerd/certs.d",
        namespace: str = "k8s.io",
    ) -> None:
        self._run, self._root, self._snapshotter, self._hosts_dir = run, root, snapshotter, hosts_dir
        self._base = [ctr, "--address", socket, "--namespace", namespace]

    # What is there

    def blob_path(self, digest: str) -> str:
        return os.path.join(self._root, _BLOBS, digest.split(":", 1)[1])

    def digests(self) -> List[str]:
        return self._ask("content", "ls", "--quiet").split()

    def snapshots(self) -> Dict[str, Tuple[str, str]]:
        """Parent and kind of each snapshot, by key."""
        found: Dict[str, Tuple[str, str]] = {}
        for line in self._ask("snapshots", "--snapshotter", self._snapshotter, "ls").splitlines()[1:]:
            words = line.split()
            if words:
                found[words[0]] = (words[1] if len(words) == 3 else "", words[-1])
        return found

    def images(self) -> List[Image]:
        """The images whose manifests can be read; the others are told by their damaged blobs."""
        found = []
        for line in self._ask("images", "ls").splitlines()[1:]:
            words = line.split()
            if len(words) > 2 and words[2].startswith("sha256:"):
                image = Image(words[0], words[2])
                self._read(image, image.digest)
                found.append(image)
        return found

    def _read(self, image: Image, digest: str) -> None:
        """Gather what a manifest or an index refers to, as far as it is here and sound."""
        image.blobs.add(digest)
        document = self._document(digest)
        for child in document.get("manifests") or []:
            if os.path.exists(self.blob_path(child["digest"])):
                self._read(image, child["digest"])
        if not document.get("config"):
            return
        layers = document.get("layers") or []
        image.blobs.update([document["config"]["digest"], *[layer["digest"] for layer in layers]])
        keys = chain_ids((self._document(document["config"]["digest"]).get("rootfs") or {}).get("diff_ids") or [])
        image.layers += [(layer["digest"], key, layer["mediaType"]) for layer, key in zip(layers, keys)]

    def _document(self, digest: str) -> Dict[str, Any]:
        try:
            with open(self.blob_path(digest), "rb") as handle:
                data = handle.read(8 << 20)
            document = json.loads(data) if digest == f"sha256:{hashlib.sha256(data).hexdigest()}" else {}
        except (OSError, ValueError):
            return {}
        return document if isinstance(document, dict) else {}

    # What is wrong

    def hash_blobs(self, report: Report, only: Optional[Sequence[str]] = None) -> Dict[str, str]:
        """Blobs whose bytes are not those of their digest: digest -> what is wrong."""
        damaged = {}
        for digest in self.digests() if only is None else only:
            if not digest.startswith("sha256:"):
                continue
            try:
                with open(self.blob_path(digest), "rb") as handle:
                    found, size = _sha256(handle)
            except OSError as err:
                damaged[digest] = f"the blob cannot be read: {err.strerror}"
                continue
            report.blobs += 1
            report.bytes += size
            if found != digest[7:]:
                damaged[digest] = f"the blob has other content than its digest says ({size} bytes)"
        return damaged

    def compare_layers(self, report: Report, images: Sequence[Image]) -> Dict[str, str]:
        """Snapshots whose files are not those of their layer: key -> what is wrong."""
        damaged: Dict[str, str] = {}
        present = self.snapshots()
        layers = {key: (blob, kind) for image in images for blob, key, kind in image.layers}
        for key, (blob, kind) in layers.items():
            if key not in present:
                continue
            if self._snapshotter not in _DIRECTORIES:
                report.unchecked[key] = f"the snapshotter {self._snapshotter} keeps no directories"
            elif not os.path.exists(self.blob_path(blob)):
                report.unchecked[key] = f"its layer {blob} is not kept (discard_unpacked_layers)"
            elif "zstd" in kind:
                report.unchecked[key] = f"its layer {blob} is packed with zstd, which Python cannot read here"
            else:
                wrong = self._differs(self._directory(key), self.blob_path(blob))
                report.snapshots += 1
                if wrong:
                    damaged[key] = f"the unpacked layer differs from its blob {blob}: {wrong}"
        return damaged

    def _directory(self, key: str) -> str:
        """The directory with the files of a layer alone."""
        snapshots = ["snapshots", "--snapshotter", self._snapshotter]
        self._run([*self._base, *snapshots, "rm", _LOOK])
        # ctr marks what it prepares as a root of the garbage collection, and not a view. A collected view leaves
        # its name with its parent, which can then never be removed.
        said = self._ask(*snapshots, "prepare", "--target", "/nowhere", _LOOK, key)
        try:
            found = re.search(r"lowerdir=([^:,\s]+)", said) or re.search(r"^mount -t bind (\S+) /nowhere", said, re.M)
            if not found:
                raise StoreError(f"snapshot {key} is mounted in a way that is not known here: {said.strip()}")
            return found.group(1)
        finally:
            self._run([*self._base, *snapshots, "rm", _LOOK])

    @staticmethod
    def _differs(directory: str, blob: str) -> str:
        """How a directory differs from the tar that was unpacked there; empty where it does not."""
        seen: Dict[str, str] = {}
        try:
            with open(blob, "rb") as handle:
                for member, digest in _members(handle):
                    name = os.path.normpath(member.name).lstrip("/")
                    if os.path.basename(name).startswith(".wh."):
                        continue
                    path = os.path.join(directory, name)
                    # The last of several entries with one name holds.
                    seen[name] = _wrong(directory, path, member, digest)
        except (tarfile.TarError, EOFError, OSError, gzip.BadGzipFile) as err:
            return f"the blob cannot be unpacked: {err}"
        return next((wrong for wrong in seen.values() if wrong), "")

    # Healing

    def check(self) -> Report:
        """Look at everything, change nothing."""
        report = Report()
        report.damaged.update(self.hash_blobs(report))
        images = self.images()
        sound = [image for image in images if not image.blobs & set(report.damaged)]
        report.damaged.update(self.compare_layers(report, sound))
        return report

    def heal(self) -> Report:
        """Look at everything, and put right what can be: blobs first, then what was unpacked of them."""
        report = Report()
        damaged = self.hash_blobs(report)
        images = self.images()
        report.damaged.update(damaged)
        present = self.snapshots() if damaged else {}
        for digest in damaged:
            self._heal_blob(report, digest, images)
        if damaged:
            images = self.images()
            # A manifest or config that came again does not hold its snapshots any more, until they are unpacked anew.
            for image in images:
                if image.blobs & set(damaged) and (not image.layers or image.layers[-1][1] in present):
                    self._unpack([image.digest])
        wrong = self.compare_layers(report, images)
        report.damaged.update(wrong)
        for key in wrong:
            self._heal_snapshot(report, key, images)
        return report

    def _heal_blob(self, report: Report, digest: str, images: Sequence[Image]) -> None:
        holders = [image for image in images if digest in image.blobs]
        if not holders:
            # Nothing refers to it: without it nothing is lost.
            self._remove_blob(digest)
            report.healed.append(digest)
            return
        self._remove_blob(digest)
        said = ""
        for image in sorted(holders, key=lambda image: "@" in image.name, reverse=True):
            reference = pinned(image.name, image.digest)
            if not reference:
                continue
            # All platforms' manifests that are here were pulled for this node's platform, ctr's default.
            rc, _out, err = self._run([*self._base, "content", "fetch", "--hosts-dir", self._hosts_dir, reference])
            if reference not in {other.name for other in images}:
                self._run([*self._base, "images", "rm", reference])
            if rc == 0 and not self.hash_blobs(Report(), [digest]):
                report.healed.append(digest)
                return
            said = _last(err) or "it came without this blob"
        names = ", ".join(sorted({image.name for image in holders}))
        report.failed[digest] = (
            f"{report.damaged[digest]}; it belongs to {names} and could not be fetched again "
            f"({said or 'no registry has an image of this name'}); see that the registry holds it, and run again"
        )

    def _remove_blob(self, digest: str) -> None:
        self._run([*self._base, "content", "rm", digest])
        # What containerd only unlists would be taken again as it is.
        if os.path.exists(self.blob_path(digest)):
            os.unlink(self.blob_path(digest))

    def _heal_snapshot(self, report: Report, key: str, images: Sequence[Image]) -> None:
        present = self.snapshots()
        if key not in present:
            # It went with one below it, and came again with that.
            report.healed.append(key)
            return
        upon = _upon(present, key)
        used = [name for name in upon if present[name][1] != "Committed"]
        if used:
            report.failed[key] = (
                f"{report.damaged[key]}; {', '.join(map(self._container, used))} runs on it; drain the node, or delete "
                "these pods, and run again"
            )
            return
        for name in reversed(upon):
            said = self._remove_snapshot(name)
            if said:
                report.failed[key] = f"{report.damaged[key]}; snapshot {name} could not be removed: {said}"
                return
        above = {name for image in images for _blob, name, _kind in image.layers if name in upon}
        said = self._unpack(
            sorted({image.digest for image in images if above & {name for _blob, name, _kind in image.layers}})
        )
        again = self.compare_layers(
            Report(), [image for image in images if any(k == key for _b, k, _t in image.layers)]
        )
        if said or key in again or key not in self.snapshots():
            report.failed[key] = (
                f"{report.damaged[key]}; it could not be unpacked again ({said or again.get(key, 'gone')})"
            )
        else:
            report.healed.append(key)

    def _remove_snapshot(self, name: str) -> str:
        """Remove a snapshot that nothing stands on; why that fails, or an empty text."""
        rc, _out, err = self._run([*self._base, "snapshots", "--snapshotter", self._snapshotter, "rm", name])
        # The garbage collection may have been there first.
        return "" if rc == 0 or "not found" in err else _last(err)

    def _unpack(self, targets: Sequence[str]) -> str:
        """Unpack what is not unpacked of the images with these digests; why that fails, or an empty text."""
        said = ""
        for target in targets:
            argv = [*self._base, "snapshots", "unpack", "--snapshotter", self._snapshotter]
            rc, _out, err = self._run([*argv, "--sync-fs", target])
            if rc != 0:
                # containerd 1.6 has no --sync-fs.
                rc, _out, err = self._run([*argv, target])
            said = said if rc == 0 else _last(err)
        return said

    def _container(self, key: str) -> str:
        """Which pod's container a snapshot belongs to, in words."""
        rc, out, _err = self._run([*self._base, "containers", "info", key])
        try:
            labels = (json.loads(out) if rc == 0 else {}).get("Labels") or {}
        except ValueError:
            labels = {}
        pod, namespace = labels.get("io.kubernetes.pod.name"), labels.get("io.kubernetes.pod.namespace")
        return f"pod {namespace}/{pod}" if pod else f"container {key[:12]}"

    def _ask(self, *argv: str) -> str:
        rc, out, err = self._run([*self._base, *argv])
        if rc != 0:
            raise StoreError(f"{' '.join([*self._base, *argv])}: {_last(err)}; see that containerd runs on this node")
        return out


def pinned(name: str, digest: str) -> str:
    """A name of an image by its digest; empty for a name that no registry is asked for."""
    if name.startswith("sha256:") or "/" not in name:
        return ""
    repository = name.split("@", 1)[0]
    head, _slash, last = repository.rpartition("/")
    return f"{head}/{last.split(':', 1)[0]}@{digest}"


def _last(text: str) -> str:
    """The last line of what a program complained about, without the warnings that every call prints."""
    lines = [line for line in text.strip().splitlines() if "DEPRECATION" not in line]
    return lines[-1][-400:] if lines else ""


def _upon(present: Dict[str, Tuple[str, str]], key: str) -> List[str]:
    """A snapshot and all that stand on it, each after the one below it."""
    found: List[str] = []
    pending = [key]
    while pending:
        name = pending.pop(0)
        found.append(name)
        pending += [other for other, (parent, _kind) in present.items() if parent == name]
    return found


def _members(handle: IO[bytes]) -> Iterator[Tuple[tarfile.TarInfo, str]]:
    """The entries of a layer, with the sha256 of what each regular file holds."""
    packed = handle.read(2) == b"\x1f\x8b"
    handle.seek(0)
    stream: IO[bytes] = gzip.GzipFile(fileobj=handle) if packed else handle  # type: ignore[assignment]
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            digest = ""
            content = archive.extractfile(member) if member.isreg() else None
            if content is not None:
                digest = _sha256(content)[0]
            yield member, digest
    # A torn end shows in gzip's own checksum.
    while stream.read(_PIECE):
        pass


def _sha256(stream: IO[bytes]) -> Tuple[str, int]:
    """Digest in hexadecimal digits, and number of bytes."""
    digester, size = hashlib.sha256(), 0
    for piece in iter(lambda: stream.read(_PIECE), b""):
        digester.update(piece)
        size += len(piece)
    return digester.hexdigest(), size


def _wrong(directory: str, path: str, member: tarfile.TarInfo, digest: str) -> str:
    """What is wrong with one unpacked file; empty where nothing is."""
    try:
        status = os.lstat(path)
    except OSError:
        return f"{member.name} is not there"
    if member.isreg():
        if not stat.S_ISREG(status.st_mode) or status.st_size != member.size:
            return f"{member.name} has {status.st_size} bytes, not {member.size}"
        with open(path, "rb") as handle:
            if _sha256(handle)[0] != digest:
                return f"{member.name} has other content"
    elif member.issym() and (not stat.S_ISLNK(status.st_mode) or os.readlink(path) != member.linkname):
        return f"{member.name} is another link"
    elif member.isdir() and not stat.S_ISDIR(status.st_mode):
        return f"{member.name} is no directory"
    elif member.islnk():
        target = os.path.join(directory, os.path.normpath(member.linkname).lstrip("/"))
        if not os.path.exists(target) or os.lstat(target).st_ino != status.st_ino:
            return f"{member.name} is no link to {member.linkname}"
    if not member.issym() and stat.S_IMODE(status.st_mode) != stat.S_IMODE(member.mode):
        return f"{member.name} has mode {stat.S_IMODE(status.st_mode):04o}, not {stat.S_IMODE(member.mode):04o}"
    return ""
