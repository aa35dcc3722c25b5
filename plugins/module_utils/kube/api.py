# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads from a cluster's API with the credentials of a kubeconfig: plain requests, for lists are long."""

from __future__ import annotations

import json
from typing import Any, Callable, Mapping, Optional

from ansible_collections.airgap.speech.plugins.module_utils.kube.snapshot import ApiError, ForbiddenError, Get

# The argument_spec of a cluster; the doc fragment C(cluster) describes it.
CLUSTER_OPTIONS: dict[str, Any] = {"kubeconfig": {"type": "path", "required": True}, "context": {"type": "str"}}


def getter(what: str, kubeconfig: str, context: Optional[str] = None) -> Get:
    """A function that reads from the cluster of a kubeconfig; ``what`` begins its errors.

    Raises ImportError without the Python package kubernetes, and ApiError where the kubeconfig is of no use. The
    function raises ApiError where the cluster does not answer, and ForbiddenError where a right is missing.
    """
    from kubernetes import config
    from urllib3.exceptions import HTTPError

    connect: Callable[..., Any] = config.new_client_from_config
    try:
        api = connect(config_file=kubeconfig, context=context)
    except (config.ConfigException, OSError) as error:
        raise ApiError(
            f"{what}: the kubeconfig {kubeconfig} cannot be used: {error};"
            " give the path of one that reaches the cluster"
        ) from None

    def get(path: str, query: Mapping[str, str]) -> Mapping[str, Any]:
        # The pool of connections and the credentials are the library's; its own calls differ from release to release.
        headers = {"Accept": "application/json"}
        for setting in api.configuration.auth_settings().values():
            if setting.get("in") == "header" and setting.get("value"):
                headers[setting["key"]] = setting["value"]
        try:
            response = api.rest_client.pool_manager.request(
                "GET", api.configuration.host + path, fields=dict(query), headers=headers, timeout=60
            )
        except (HTTPError, OSError) as error:
            raise ApiError(
                f"{what}: the cluster of {kubeconfig} does not answer: {error};"
                " see that its API server runs and is reached from here"
            ) from None
        if response.status == 403:
            raise ForbiddenError(path)
        if response.status != 200:
            raise ApiError(
                f"{what}: the cluster answered {response.status} {response.reason} to {path};"
                f" see whether the user of {kubeconfig} is still valid"
            )
        answer: Mapping[str, Any] = json.loads(response.data)
        return answer

    return get
