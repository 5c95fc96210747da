# SPDX-License-Identifier: BSD-3-Clause
"""apps: what there is to run."""

from typing import Any

from mosbox import Command


class Apps(Command):
    """List the apps and commands, and where they come from.

    Apps are found in mosbox itself, in installed packages (entry points of the
    group mosbox.apps), and in the folders named by --app-dir and MOSBOX_APP_DIR.
    """

    def main(self) -> list[dict[str, Any]]:
        for problem in self.registry.problems:
            self.log(problem)
        return [
            {"name": name, "from": entry.origin, "what": entry.summary or entry.problem}
            for name, entry in sorted(self.registry.entries.items())
        ]
