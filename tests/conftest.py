# SPDX-License-Identifier: BSD-3-Clause
"""What every test may use."""

import os

from hypothesis import HealthCheck, settings

# Tests are about bytes and exit codes, not about who runs them or where.
os.environ["NO_COLOR"] = "1"
os.environ["TERM"] = "dumb"
os.environ["COLUMNS"] = "100"
os.environ.pop("MOSBOX_APP_DIR", None)

# Nor about how long they take on a machine that does other things as well.
settings.register_profile("mosbox", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mosbox")
