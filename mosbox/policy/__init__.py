# SPDX-License-Identifier: BSD-3-Clause
"""policy -- the language of `mosbox l7fw`: ordered rules on what flows are.

    text --document--> nodes with places --reader--> Policy --judge(Facts)--> Verdict
                                             |
                                           sets: addresses, ports, names, texts

The language itself is described in mosbox-policy(5).
"""

from mosbox.policy.document import PolicyError
from mosbox.policy.reader import parse_policy, read_policy
from mosbox.policy.rules import Facts, Policy, Rule, Verdict
from mosbox.policy.sets import address_number

__all__ = [
    "Facts",
    "Policy",
    "PolicyError",
    "Rule",
    "Verdict",
    "address_number",
    "parse_policy",
    "read_policy",
]
