# SPDX-License-Identifier: BSD-3-Clause
"""`python -m mosbox` is `mosbox`."""

import sys

from mosbox.cli import main

if __name__ == "__main__":
    sys.exit(main())
