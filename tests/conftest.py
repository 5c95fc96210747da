# SPDX-License-Identifier: BSD-3-Clause
"""What every test may use."""

import os

# Tests are about bytes and exit codes, not about who runs them or where.
os.environ["NO_COLOR"] = "1"
os.environ["TERM"] = "dumb"
os.environ["COLUMNS"] = "100"
os.environ.pop("MOSBOX_APP_DIR", None)
