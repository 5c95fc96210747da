# SPDX-License-Identifier: BSD-3-Clause
"""Rules in Suricata's language: read, checked and compiled for the core.

parser.py    text -> keyword:value options, each with its place
ranges.py    addresses and ports -> ranges
compiler.py  options -> program; keywords in payload.py, buffers.py, packet.py, meta.py
program.py   program -> bytes for the core
loader.py    files -> one set of rules in the core
config.py    classification.config, threshold.config, suricata.yaml
"""
