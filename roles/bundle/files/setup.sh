#!/bin/sh
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Turns a machine that has python3 and an ssh client into a controller, out of this bundle and nothing else.
# Nothing of the bundle runs before its signature and its digest have proved right against what the operator brings:
# a file of trusted signers, or a fingerprint to compare. Neither is ever taken from the bundle.

set -eu
umask 022

usage() {
    cat <<'USAGE'
usage: setup.sh (--signers FILE [--signatures N] | --fingerprint SHA256:...) [--revoked FILE] [--prefix DIRECTORY]

  --signers FILE      an ssh allowed_signers file with the signers that you trust; it came to you apart from the bundle
  --signatures N      how many different keys of that file must have signed; default 1
  --fingerprint TEXT  the fingerprint of a key that signed, as the connected side printed it
  --revoked FILE      keys that are trusted no more: what `ssh-keygen -k` makes, or a list of public keys
  --prefix DIRECTORY  where the controller goes; default ~/.airgap
USAGE
}

refuse() {
    printf 'setup.sh: %s\n' "$1" >&2
    exit 1
}

signers=
fingerprint=
signatures=1
revoked=
prefix=${HOME:-}/.airgap
while [ $# -gt 0 ]; do
    case $1 in
        --signers | --fingerprint | --signatures | --revoked | --prefix)
            [ $# -ge 2 ] || refuse "$1 wants a value; see setup.sh --help"
            case $1 in
                --signers) signers=$2 ;;
                --fingerprint) fingerprint=$2 ;;
                --signatures) signatures=$2 ;;
                --revoked) revoked=$2 ;;
                --prefix) prefix=$2 ;;
            esac
            shift 2
            ;;
        -h | --help)
            usage
            exit 0
            ;;
        *)
            usage >&2
            refuse "$1 is no option"
            ;;
    esac
done

bundle=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
lock=$bundle/bundle.lock.json

[ -z "$signers" ] || [ -z "$fingerprint" ] || refuse "--signers and --fingerprint exclude each other; give one of them"
if [ -z "$signers" ] && [ -z "$fingerprint" ]; then
    usage >&2
    refuse "nothing to trust was given; add --signers or --fingerprint with what the maker of the bundle handed over apart from it"
fi
case $signatures in
    '' | *[!0-9]* | 0*) refuse "--signatures $signatures is no count; give 1 or more" ;;
    1) ;;
    *) [ -z "$fingerprint" ] || refuse "--fingerprint names one key, and --signatures asks for $signatures; give --signers, a file with all of them" ;;
esac
command -v python3 >/dev/null 2>&1 || refuse "python3 is missing; install it from this system's own packages (python3)"
command -v ssh-keygen >/dev/null 2>&1 || refuse "ssh-keygen is missing; install it from this system's own packages (openssh-client)"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' || refuse "python3 is older than 3.9; install a newer one from this system's own packages"
python3 -c 'import argparse, concurrent.futures, hashlib, json, tarfile, zipfile' 2>/dev/null \
    || refuse "python3 has no whole standard library; install it from this system's own packages (python3, not python3-minimal)"
[ -f "$lock" ] || refuse "bundle.lock.json is missing; copy the bundle again"
[ -f "$lock.sig" ] || refuse "bundle.lock.json.sig is missing, so nobody vouches for this bundle; copy the bundle again, or sign it on the connected side"

work=$(mktemp -d "${TMPDIR:-/tmp}/airgap-setup.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

if [ -n "$fingerprint" ]; then
    # A key that signed becomes a trusted signer only when its fingerprint equals the one that the operator brought.
    signers=$work/allowed_signers
    python3 -I - "$lock.sig" "$fingerprint" >"$signers" <<'PYTHON' || exit 1
import base64, hashlib, re, struct, sys

path, wanted = sys.argv[1], sys.argv[2].strip()
found = []
try:
    for block in re.findall("-----BEGIN SSH SIGNATURE-----(.*?)-----END SSH SIGNATURE-----", open(path, encoding="ascii").read(), re.S):
        data = base64.b64decode("".join(block.split()))
        (length,) = struct.unpack(">I", data[10:14])
        key = data[14 : 14 + length]
        (size,) = struct.unpack(">I", key[:4])
        kind = key[4 : 4 + size].decode("ascii")
        if data[:6] != b"SSHSIG" or len(key) != length or not kind.replace("-", "").replace("@", "").replace(".", "").isalnum():
            raise ValueError("no SSH signature")
        found.append((kind, key, "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")))
    if not found:
        raise ValueError("no SSH signature")
except (OSError, ValueError, struct.error) as error:
    sys.exit("setup.sh: bundle.lock.json.sig cannot be read (%s); copy the bundle again" % error)
right = [(kind, key) for kind, key, actual in found if actual == wanted]
if not right:
    sys.exit(
        "setup.sh: bundle.lock.json.sig was made by the key %s, expected %s; check who made the bundle, "
        "and the fingerprint that you were given" % (" and the key ".join(actual for kind, key, actual in found), wanted)
    )
print('airgap-speech-bundle namespaces="airgap-speech-bundle" %s %s' % (right[0][0], base64.b64encode(right[0][1]).decode()))
PYTHON
fi
[ -f "$signers" ] || refuse "$signers is missing; give the file with the signers that you trust"
case $(CDPATH='' cd -- "$(dirname -- "$signers")" && pwd)/ in
    "$bundle"/*) refuse "$signers lies inside the bundle, so the bundle would vouch for itself; bring the file from elsewhere" ;;
esac

[ -z "$revoked" ] || [ -f "$revoked" ] || refuse "$revoked is missing; give the file of the keys that are trusted no more"

# Several keys may have signed: as many as are asked for have to be trusted and not revoked, each counted once.
awk -v base="$work/signature." '/^-----BEGIN SSH SIGNATURE-----/ { n++ } n { print > (base n) }' "$lock.sig"
: >"$work/keys"
reason=
for one in "$work"/signature.*; do
    [ -f "$one" ] || refuse "bundle.lock.json.sig is no SSH signature; copy the bundle again"
    key=$(ssh-keygen -Y check-novalidate -n airgap-speech-bundle -s "$one" <"$lock" 2>/dev/null | sed -n 's/.* key /the key /p')
    if ! ssh-keygen -Y find-principals -s "$one" -f "$signers" >"$work/principals" 2>"$work/error"; then
        # Such as: the key has expired.
        why=$(grep -v '^No principal matched' "$work/error" | tr '\n' ' ')
        reason="was made by ${key:-a key}, which $signers does not trust${why:+ (${why% })}; check who made the bundle, and add its signer only if the line was handed over apart from it"
        continue
    fi
    while IFS= read -r principal; do
        if ! ssh-keygen -Y verify -f "$signers" -I "$principal" -n airgap-speech-bundle -s "$one" <"$lock" >/dev/null 2>"$work/error"; then
            refuse "bundle.lock.json does not match its signature ($(tr '\n' ' ' <"$work/error")); it was altered after it was signed: copy the bundle again"
        fi
        if [ -n "$revoked" ] && ! ssh-keygen -Y verify -f "$signers" -I "$principal" -n airgap-speech-bundle -s "$one" -r "$revoked" <"$lock" >/dev/null 2>&1; then
            reason="was made by ${key:-a key} of $principal, which $revoked revokes, or that file is damaged; do not use this bundle before somebody who is still trusted has signed it again"
            continue
        fi
        printf '%s\n' "$key" >>"$work/keys"
    done <"$work/principals"
done
verified=$(sort -u "$work/keys" | wc -l)
if [ "$verified" -lt "$signatures" ]; then
    [ -n "$reason" ] || reason="is signed by $((verified)) trusted keys, where $signatures are wanted; have the others sign it on the connected side"
    refuse "bundle.lock.json.sig $reason"
fi

# The lock is right now; by it the installer is, which is copied first so that what was checked is what runs.
python3 -I - "$lock" "$bundle" "$work/installer.pyz" <<'PYTHON' || exit 1
import hashlib, json, os, sys

lock, bundle, target = sys.argv[1:]
name = "files/installer.pyz"
files = {item["path"]: item for item in json.load(open(lock, encoding="utf-8"))["files"]}
if name not in files:
    sys.exit("setup.sh: %s is not in the lock; make the bundle again" % name)
where, offset, size = os.path.join(bundle, name), 0, files[name]["size"]
label = name
parts = os.path.join(bundle, "bundle.parts.json")
if os.path.exists(parts):
    # The list only says where to look: whatever it says, the digest below is the signed lock's.
    try:
        listed = json.load(open(parts, encoding="utf-8"))["parts"]
        found = [(p, e) for p in listed for e in p["entries"] if e["path"] == name]
        part, entry = found[0]
        where, offset = os.path.join(bundle, os.path.basename(part["name"])), int(entry["offset"])
        label = "part %d of %d (%s)" % (part["number"], len(listed), os.path.basename(part["name"]))
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        sys.exit("setup.sh: bundle.parts.json cannot be read (%s); copy it again from another medium" % error)
    if not os.path.exists(where):
        sys.exit("setup.sh: %s is not beside setup.sh; run setup.sh from the medium with that part" % label)
try:
    with open(where, "rb") as handle:
        handle.seek(offset)
        data = handle.read(size)
except OSError as error:
    sys.exit("setup.sh: %s: %s; copy that file again" % (label, error.strerror))
actual, expected = "sha256:" + hashlib.sha256(data).hexdigest(), files[name]["digest"]
if actual != expected:
    sys.exit("setup.sh: %s: sha256 differs (expected %s, actual %s); copy that file again" % (label, expected, actual))
with open(target, "wb") as handle:
    handle.write(data)
PYTHON

python3 -I "$work/installer.pyz" --bundle "$bundle" --signers "$signers" --signatures "$signatures" --revoked "$revoked" --prefix "$prefix"

prefix=$(CDPATH='' cd -- "$prefix" && pwd)
case :$PATH: in
    *":$prefix/bin:"*) ;;
    *) printf "next: PATH=%s/bin:\$PATH\n" "$prefix" ;;
esac
printf 'next: ansible-playbook airgap.speech.site -i inventory\n'
