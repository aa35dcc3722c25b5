#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: speech_roundtrip
short_description: Sends a sentence through text to speech and speech to text, and compares
version_added: "0.1.0"
author:
  - Airgap Speech contributors (@airgap-speech)
description:
  - A sentence goes to the speech platform as text and comes back as audio; the audio goes in again and comes back
    as text. The words that came back are compared with the words that were sent.
  - With O(audio), a recording goes in instead, and is compared with O(text) where that is given.
  - The services are reached through the Kubernetes API (port forward to a ready pod of each Service), so that
    neither an ingress nor a route into the cluster is needed; or at O(stt_url) and O(tts_url).
  - The interface is that of OpenAI, C(POST /v1/audio/speech) and C(POST /v1/audio/transcriptions).
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
    details:
      - The requests are sent in check mode too, as they change nothing; O(audio_dest) is not written then.
  diff_mode:
    description: Returns details on what has changed, or would change, when in diff mode.
    support: none
options:
  kubeconfig:
    description:
      - Path of the kubeconfig on the host where the module runs. Needed where a URL is not given.
    type: path
  namespace:
    description:
      - Namespace of the Services.
    type: str
  stt_service:
    description:
      - Service that transcribes.
    type: str
  tts_service:
    description:
      - Service that speaks.
    type: str
  port:
    description:
      - Port of both Services, by number.
    type: int
    default: 8000
  stt_url:
    description:
      - Address of the service that transcribes, without C(/v1), instead of O(stt_service).
    type: str
  tts_url:
    description:
      - Address of the service that speaks, without C(/v1), instead of O(tts_service).
    type: str
  ca_file:
    description:
      - PEM file of the CA that signed the certificates of O(stt_url) and O(tts_url).
    type: path
  api_key_file:
    description:
      - File that holds the API key, and nothing else. The key is never returned.
    type: path
  api_key_secret:
    description:
      - Secret of O(namespace) whose entries are API keys, each of them good; the first by name is used.
    type: str
  text:
    description:
      - The sentence. Needed unless O(audio) is given.
    type: str
  audio:
    description:
      - A recording to transcribe, on the host where the module runs.
    type: path
  model:
    description:
      - Name of the model that transcribes.
    type: str
    required: true
  tts_model:
    description:
      - Name of the model that speaks. Where it is not given, O(voice) is sent.
    type: str
  voice:
    description:
      - Name of the voice.
    type: str
  audio_dest:
    description:
      - File to keep the spoken sentence in.
    type: path
  max_word_error_rate:
    description:
      - The module fails when the errors for each expected word are above this.
    type: float
    default: 0.2
  timeout:
    description:
      - Seconds that one request may take.
    type: float
    default: 120
requirements:
  - kubernetes >= 24.2.0 (Python package), where a Service is reached through the API, or O(api_key_secret) is given
"""

EXAMPLES = r"""
- name: Say a sentence and hear it
  airgap.speech.speech_roundtrip:
    kubeconfig: /home/ops/.kube/config
    namespace: speech
    stt_service: speech-stt
    tts_service: speech-tts
    api_key_secret: speech-api-keys
    model: whisper-tiny-en
    voice: piper-en-us-joe
    text: The quick brown fox jumps over the lazy dog.

- name: Transcribe a recording
  airgap.speech.speech_roundtrip:
    stt_url: https://speech.example.internal
    ca_file: /etc/ssl/site-ca.pem
    api_key_file: /home/ops/.airgap/secrets/api-keys/speech/speech/default
    model: whisper-tiny-en
    audio: /home/ops/call.wav
"""

RETURN = r"""
expected:
  description: The text that was to come back; empty for a recording without one.
  returned: success or above the limit
  type: str
  sample: The quick brown fox jumps over the lazy dog.
transcript:
  description: The text that came back.
  returned: success or above the limit
  type: str
  sample: The quick brown fox jumps over the lazy dog.
word_error_rate:
  description: Errors for each expected word; null where nothing was expected.
  returned: success or above the limit
  type: float
  sample: 0.0
seconds:
  description: Seconds that each step took.
  returned: success or above the limit
  type: dict
  sample: {"text_to_speech": 0.41, "speech_to_text": 1.02}
audio_seconds:
  description: Length of the audio; null where the format does not tell.
  returned: success or above the limit
  type: float
  sample: 2.7
audio_bytes:
  description: Size of the audio in bytes.
  returned: success or above the limit
  type: int
  sample: 119084
"""

import base64
import contextlib
import http.client
import json
import os
import socket
import ssl
import time
import traceback
import urllib.parse
import uuid
from collections.abc import Iterator
from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.airgap.speech.plugins.module_utils.audio import wav_seconds
from ansible_collections.airgap.speech.plugins.module_utils.word_error_rate import word_error_rate, words


class RoundtripError(Exception):
    """A step that went wrong: the thing, the cause, the next step."""


class ForwardedConnection(http.client.HTTPConnection):
    """HTTP over a socket that is open already."""

    def __init__(self, forwarded: Any, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.forwarded = forwarded

    def connect(self) -> None:
        """Nothing to connect: the API server has done it."""
        self.sock = self.forwarded


class Cluster:
    """The way to a Service through the Kubernetes API."""

    def __init__(self, kubeconfig: str) -> None:
        try:
            from kubernetes import client, config
        except ImportError as error:
            raise RoundtripError(missing_required_lib("kubernetes")) from error
        try:
            self.client = client
            self.configuration = client.Configuration()
            config.load_kube_config(kubeconfig, client_configuration=self.configuration)
        except (OSError, config.ConfigException) as error:
            raise RoundtripError(f"kubeconfig {kubeconfig}: {error}; name a file that can be read") from error

    def core(self) -> Any:
        """A client of its own: a port forward changes the one that it is made with."""
        return self.client.CoreV1Api(self.client.ApiClient(self.configuration))

    def api_key(self, namespace: str, secret: str) -> str:
        """The key in the first entry of a Secret."""
        thing = f"Secret {namespace}/{secret}"
        try:
            entries = self.core().read_namespaced_secret(secret, namespace).data or {}
        except self.client.exceptions.ApiException as error:
            raise RoundtripError(
                f"{thing}: the cluster answered {error.status} {error.reason}; the role credentials makes it, and the "
                "user of the kubeconfig needs get on secrets there"
            ) from error
        if not entries:
            raise RoundtripError(f"{thing}: holds no API key; give it one entry a key")
        name = min(entries)
        return checked_key(base64.b64decode(entries[name]).decode("utf-8", "replace"), f"{thing}, entry {name}")

    def ready_pod(self, namespace: str, service: str, port: int) -> tuple[str, int]:
        """Name and port of a pod that serves."""
        core = self.core()
        try:
            found = core.read_namespaced_service(service, namespace)
            wanted = next((entry for entry in found.spec.ports if entry.port == port), None)
            if wanted is None:
                ports = ", ".join(str(entry.port) for entry in found.spec.ports)
                raise RoundtripError(f"service {namespace}/{service} has no port {port}, only {ports}")
            selector = ",".join(f"{key}={value}" for key, value in (found.spec.selector or {}).items())
            pods = core.list_namespaced_pod(namespace, label_selector=selector).items
        except self.client.exceptions.ApiException as error:
            raise RoundtripError(
                f"service {namespace}/{service}: the cluster answered {error.status} {error.reason}; "
                "is the release deployed, and may the user of the kubeconfig read services and pods there?"
            ) from error
        for pod in pods:
            conditions = {entry.type: entry.status for entry in pod.status.conditions or []}
            if conditions.get("Ready") == "True" and pod.metadata.deletion_timestamp is None:
                return pod.metadata.name, self._number(pod, wanted)
        raise RoundtripError(
            f"service {namespace}/{service}: none of its {len(pods)} pods is ready; see why with "
            f"kubectl describe pods -n {namespace} -l {selector}"
        )

    def _number(self, pod: Any, wanted: Any) -> int:
        target = wanted.target_port if wanted.target_port is not None else wanted.port
        if isinstance(target, int):
            return target
        for container in pod.spec.containers:
            for entry in container.ports or []:
                if entry.name == target:
                    return int(entry.container_port)
        raise RoundtripError(f"pod {pod.metadata.name} has no port named {target}")

    @contextlib.contextmanager
    def connection(self, namespace: str, service: str, port: int, timeout: float) -> Iterator[ForwardedConnection]:
        """An HTTP connection to a ready pod of the Service."""
        from kubernetes.stream import portforward

        pod, number = self.ready_pod(namespace, service, port)
        try:
            forward = portforward(self.core().connect_get_namespaced_pod_portforward, pod, namespace, ports=str(number))
        except self.client.exceptions.ApiException as error:
            raise RoundtripError(
                f"pod {namespace}/{pod}: the port forward was refused ({error.reason}); "
                "the user of the kubeconfig needs create and get on pods/portforward"
            ) from error
        try:
            tunnel = forward.socket(number)
            tunnel.settimeout(timeout)
            try:
                yield ForwardedConnection(tunnel, timeout)
            except (OSError, http.client.HTTPException) as error:
                cause = forward.error(number) or error
                raise RoundtripError(f"pod {namespace}/{pod}, port {number}: {cause}; look at its log") from error
        finally:
            with contextlib.suppress(Exception):
                forward.close()


class Service:
    """One service and the way to it."""

    def __init__(self, params: dict[str, Any], name: str, key: Optional[str], cluster: Optional[Cluster]) -> None:
        self.params = params
        self.url = params[f"{name}_url"]
        self.service = params[f"{name}_service"]
        self.key = key
        self.cluster = cluster

    @contextlib.contextmanager
    def _connection(self) -> Iterator[tuple[http.client.HTTPConnection, str]]:
        timeout = self.params["timeout"]
        if not self.url:
            if self.cluster is None:
                raise RoundtripError(f"service {self.service}: kubeconfig is needed to reach it")
            with self.cluster.connection(
                self.params["namespace"], self.service, self.params["port"], timeout
            ) as connection:
                yield connection, ""
            return
        parts = urllib.parse.urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RoundtripError(f"url {self.url}: not an http or https address")
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            try:
                context = ssl.create_default_context(cafile=self.params["ca_file"])
            except (OSError, ssl.SSLError) as error:
                raise RoundtripError(f"CA file {self.params['ca_file']}: {error}") from error
            connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=timeout, context=context)
        else:
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
        try:
            yield connection, parts.path.rstrip("/")
        except socket.timeout as error:
            raise RoundtripError(f"{self.url}: no answer within {timeout} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise RoundtripError(f"{self.url}: {error}; is the service up, and the address right?") from error
        finally:
            connection.close()

    def post(self, path: str, body: bytes, content_type: str) -> bytes:
        """The body of a successful answer."""
        headers = {"Content-Type": content_type, "Connection": "close"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        with self._connection() as (connection, prefix):
            connection.request("POST", prefix + path, body=body, headers=headers)
            response = connection.getresponse()
            data = response.read()
        if response.status != 200:
            said = data[:400].decode("utf-8", "replace").strip()
            if self.key:
                said = said.replace(self.key, "********")
            raise RoundtripError(
                f"{self.url or 'service ' + self.service}: POST {path} answered {response.status} "
                f"{response.reason}: {said}" + ("; check the API key" if response.status in (401, 403) else "")
            )
        return data


def multipart(fields: dict[str, str], name: str, filename: str, content: bytes) -> tuple[bytes, str]:
    """A form with one file, and its content type."""
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in fields.items()
    ]
    safe = filename.replace('"', "_").replace("\r", "_").replace("\n", "_")
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{safe}"\r\n'
    parts.append(head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + content + b"\r\n")
    parts.append(f"--{boundary}--\r\n".encode())
    return b"".join(parts), f"multipart/form-data; boundary={boundary}"


def checked_key(text: str, thing: str) -> str:
    """The one key that a text holds."""
    key = text.strip()
    if not key or any(character.isspace() for character in key):
        raise RoundtripError(f"{thing}: must hold one key, and nothing else")
    return key


def read_key(params: dict[str, Any], cluster: Optional[Cluster]) -> Optional[str]:
    """The API key of the file, or of the Secret."""
    if cluster is not None and params["api_key_secret"]:
        return cluster.api_key(params["namespace"], params["api_key_secret"])
    path = params["api_key_file"]
    if not path:
        return None
    try:
        with open(path, encoding="utf-8") as file:
            return checked_key(file.read(), f"API key file {path}")
    except (OSError, UnicodeDecodeError) as error:
        raise RoundtripError(f"API key file {path}: {error}; the role credentials makes it") from error


def speak(service: Service, params: dict[str, Any]) -> bytes:
    """The sentence as audio."""
    request = {
        "model": params["tts_model"] or params["voice"],
        "voice": params["voice"],
        "input": params["text"],
        "response_format": "wav",
    }
    audio = service.post("/v1/audio/speech", json.dumps(request).encode(), "application/json")
    if wav_seconds(audio) in (None, 0.0):
        raise RoundtripError(f"text to speech returned {len(audio)} bytes that are not a WAV file with sound in it")
    return audio


def transcribe(service: Service, params: dict[str, Any], audio: bytes, filename: str) -> str:
    """The audio as text."""
    body, content_type = multipart(
        {"model": params["model"], "response_format": "json", "temperature": "0"}, "file", filename, audio
    )
    answer = service.post("/v1/audio/transcriptions", body, content_type)
    try:
        return str(json.loads(answer)["text"]).strip()
    except (ValueError, KeyError, TypeError) as error:
        raise RoundtripError(f"speech to text did not answer with JSON that holds a text: {answer[:200]!r}") from error


def run(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """The whole way; whether the result is good enough is for main()."""
    by_service = not params["stt_url"] or (not params["audio"] and not params["tts_url"])
    needs_cluster = by_service or params["api_key_secret"]
    if needs_cluster and not (params["kubeconfig"] and params["namespace"]):
        raise RoundtripError("kubeconfig and namespace are needed for a service without url, and for api_key_secret")
    cluster = Cluster(params["kubeconfig"]) if needs_cluster else None
    key = read_key(params, cluster)
    seconds: dict[str, float] = {}
    changed = False
    if params["audio"]:
        try:
            with open(params["audio"], "rb") as file:
                audio = file.read()
        except OSError as error:
            raise RoundtripError(f"recording {params['audio']}: {error}") from error
        filename = os.path.basename(params["audio"])
    else:
        started = time.monotonic()
        audio = speak(Service(params, "tts", key, cluster), params)
        seconds["text_to_speech"] = round(time.monotonic() - started, 3)
        filename = "speech.wav"
        if params["audio_dest"] and not check_mode:
            try:
                with open(params["audio_dest"], "wb") as file:
                    file.write(audio)
            except OSError as error:
                raise RoundtripError(f"audio_dest {params['audio_dest']}: {error}") from error
            changed = True
    started = time.monotonic()
    transcript = transcribe(Service(params, "stt", key, cluster), params, audio, filename)
    seconds["speech_to_text"] = round(time.monotonic() - started, 3)
    expected = params["text"] or ""
    length = wav_seconds(audio)
    return {
        "changed": changed,
        "expected": expected,
        "transcript": transcript,
        "word_error_rate": round(word_error_rate(expected, transcript), 4) if expected else None,
        "seconds": seconds,
        "audio_seconds": None if length is None else round(length, 3),
        "audio_bytes": len(audio),
    }


def main() -> None:
    """Read the arguments, go the way, judge."""
    module = AnsibleModule(
        argument_spec={
            "kubeconfig": {"type": "path"},
            "namespace": {"type": "str"},
            "stt_service": {"type": "str"},
            "tts_service": {"type": "str"},
            "port": {"type": "int", "default": 8000},
            "stt_url": {"type": "str"},
            "tts_url": {"type": "str"},
            "ca_file": {"type": "path"},
            "api_key_file": {"type": "path", "no_log": False},
            "api_key_secret": {"type": "str", "no_log": False},
            "text": {"type": "str"},
            "audio": {"type": "path"},
            "model": {"type": "str", "required": True},
            "tts_model": {"type": "str"},
            "voice": {"type": "str"},
            "audio_dest": {"type": "path"},
            "max_word_error_rate": {"type": "float", "default": 0.2},
            "timeout": {"type": "float", "default": 120},
        },
        required_one_of=[("text", "audio"), ("stt_service", "stt_url")],
        mutually_exclusive=[
            ("stt_service", "stt_url"),
            ("tts_service", "tts_url"),
            ("audio", "audio_dest"),
            ("api_key_file", "api_key_secret"),
        ],
        supports_check_mode=True,
    )
    params = module.params
    if not params["audio"] and not (params["voice"] and (params["tts_service"] or params["tts_url"])):
        module.fail_json(msg="voice, and tts_service or tts_url, are needed to say the text")
    if params["text"] and not words(params["text"]):
        module.fail_json(msg=f"text {params['text']!r} holds no word; name a sentence")
    try:
        result = run(params, module.check_mode)
    except RoundtripError as error:
        module.fail_json(msg=str(error))
    except Exception as error:
        # What the kubernetes package and urllib3 raise when the cluster cannot be reached.
        module.fail_json(msg=f"the way to the speech services broke: {error}", exception=traceback.format_exc())
    rate = result["word_error_rate"]
    if rate is not None and rate > params["max_word_error_rate"]:
        module.fail_json(
            msg=f"word error rate {rate} is above the limit {params['max_word_error_rate']}: "
            f"expected {result['expected']!r}, heard {result['transcript']!r}",
            **result,
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
