# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def plugin_loader() -> None:
    """Ansible finds its own plugins through the collection loader, which is set up once a process."""
    from ansible.plugins.loader import init_plugin_loader

    init_plugin_loader([str(CHECKOUT / "build" / "collections")])


@pytest.fixture
def render(plugin_loader: None) -> Callable[..., Any]:
    """render(role, expression, **variables): an expression over a role's defaults and vars, as Ansible templates it."""
    from ansible.parsing.dataloader import DataLoader
    from ansible.template import Templar, trust_as_template

    def rendered(role: str, expression: str, **variables: Any) -> Any:
        folder = CHECKOUT / "roles" / role
        loader = DataLoader()
        values: dict[str, Any] = {"ansible_check_mode": False, "ansible_search_path": [str(folder)]}
        for name in ["defaults", "vars"]:
            values.update(loader.load_from_file(str(folder / name / "main.yml"), trusted_as_template=True))
        values.update(variables)
        return Templar(loader=loader, variables=values).template(trust_as_template("{{ " + expression + " }}"))

    return rendered
