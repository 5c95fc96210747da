# SPDX-License-Identifier: BSD-3-Clause
"""The apps that come with mosbox, one file a subcommand."""
