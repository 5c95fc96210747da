# SPDX-License-Identifier: BSD-3-Clause
"""Keywords that look at bytes: content and its modifiers, pcre, byte_test and their kin."""

from __future__ import annotations

import re
import struct

from mosbox._core import lib
from mosbox.rules.buffers import BUFFERS, PCRE_BUFFERS, use_buffer
from mosbox.rules.draft import Draft, keyword
from mosbox.rules.errors import RuleError, UnsupportedError
from mosbox.rules.parser import Option
from mosbox.rules.program import Op
from mosbox.rules.words import INT_MAX, number, number_range, pattern, quoted, words

MAX_CONTENT = 255 * 4
_EDGE = 0xFFFF
_PCRE = re.compile(r"(!)?\s*\"?/(.*)/([A-Za-z]*)\"?", re.DOTALL)
_PCRE_OPTIONS = {
    "i": 0x8,
    "m": 0x400,
    "s": 0x20,
    "x": 0x80,
    "A": 0x80000000,
    "E": 0x10,
    "G": 0x40000,
}
_BASES = {"string": 0, "dec": 10, "hex": 16, "oct": 8}
_OPERATORS = {"<": 1, "<=": 2, "=": 3, "==": 3, ">": 4, ">=": 5, "&": 6, "^": 7}


@keyword("content", "uricontent")
def content(draft: Draft, value: str, option: Option) -> None:
    """The bytes to find."""
    text, negated = quoted(value)
    data = pattern(text)
    if not data:
        raise RuleError("the content is empty")
    if len(data) > MAX_CONTENT:
        raise RuleError(f"the content is longer than {MAX_CONTENT} bytes")
    op = Op(lib.MB_OP_CONTENT, data=data, flags=lib.MB_OPF_NOT if negated else 0)
    if option.name == "content":
        draft.inspect(op)
        return
    buffer = BUFFERS["http.uri"]
    use_buffer(draft, buffer, "uricontent")
    draft.chain(buffer.key).append(op)
    draft.last, draft.last_key = op, buffer.key


@keyword("nocase")
def nocase(draft: Draft, value: str, option: Option) -> None:
    """Upper and lower case are the same."""
    draft.content("nocase").flags |= lib.MB_OPF_NOCASE


@keyword("rawbytes")
def rawbytes(draft: Draft, value: str, option: Option) -> None:
    """Bytes as on the wire: they always are."""
    draft.content("rawbytes")


def _place(draft: Draft, value: str, what: str, low: int) -> tuple[Op, int, int]:
    """The content, the number of a modifier, and whether it is a variable's."""
    op = draft.content(what)
    if value[:1].isalpha() or value[:1] == "_":
        return op, draft.variable(value), 1
    return op, number(value, low, _EDGE), 0


@keyword("offset")
def offset(draft: Draft, value: str, option: Option) -> None:
    """The content begins at that byte of the buffer or later."""
    op, place, variable = _place(draft, value, "offset", 0)
    op.a = place
    op.flags |= lib.MB_OPF_OFFSET
    op.vars |= variable * lib.MB_OPV_A


@keyword("depth")
def depth(draft: Draft, value: str, option: Option) -> None:
    """The content lies within that many bytes from the offset."""
    op, place, variable = _place(draft, value, "depth", 1)
    op.b = place
    op.flags |= lib.MB_OPF_DEPTH
    op.vars |= variable * lib.MB_OPV_B
    if not variable and op.b < len(op.data):
        raise RuleError("the depth is less than the content's length")


@keyword("distance")
def distance(draft: Draft, value: str, option: Option) -> None:
    """The content begins that many bytes after the match before, or later."""
    op, place, variable = _place(draft, value, "distance", -_EDGE)
    op.c = place
    op.flags |= lib.MB_OPF_DISTANCE | lib.MB_OPF_RELATIVE
    op.vars |= variable * lib.MB_OPV_C


@keyword("within")
def within(draft: Draft, value: str, option: Option) -> None:
    """The content ends within that many bytes after the match before."""
    op, place, variable = _place(draft, value, "within", 0)
    op.d = place
    op.flags |= lib.MB_OPF_WITHIN | lib.MB_OPF_RELATIVE
    op.vars |= variable * lib.MB_OPV_D
    if not variable and op.d < len(op.data):
        raise RuleError("the content's length is more than within")


@keyword("startswith")
def startswith(draft: Draft, value: str, option: Option) -> None:
    """The buffer begins with the content."""
    op = draft.content("startswith")
    op.a, op.b = 0, len(op.data)
    op.flags |= lib.MB_OPF_OFFSET | lib.MB_OPF_DEPTH


@keyword("endswith")
def endswith(draft: Draft, value: str, option: Option) -> None:
    """The buffer ends with the content."""
    draft.content("endswith").flags |= lib.MB_OPF_ENDSWITH


@keyword("fast_pattern")
def fast_pattern(draft: Draft, value: str, option: Option) -> None:
    """This content, or a part of it, is looked for first."""
    op = draft.content("fast_pattern")
    if draft.fast is not None:
        raise RuleError("a rule has one fast_pattern")
    if op.flags & lib.MB_OPF_NOT and op.flags & ~(lib.MB_OPF_NOT | lib.MB_OPF_NOCASE):
        raise RuleError("a negated content with a place cannot be the fast pattern")
    draft.fast = op
    if not value or value == "only":
        return
    start, _, length = value.partition(",")
    op.x, op.y = number(start.strip(), 0, len(op.data)), number(length.strip(), 1, len(op.data))
    if op.x + op.y > len(op.data):
        raise RuleError("the fast pattern reaches past its content")


@keyword("pcre")
def pcre(draft: Draft, value: str, option: Option) -> None:
    """A Perl-compatible regular expression."""
    found = _PCRE.fullmatch(value)
    if found is None:
        raise RuleError('pcre is "/expression/options"')
    op = Op(lib.MB_OP_PCRE, flags=lib.MB_OPF_NOT if found[1] else 0)
    op.data = found[2].replace("\\;", ";").replace('\\"', '"').encode("latin-1", "replace")
    options = 0
    buffer = None
    for letter in found[3]:
        if letter == "R":
            op.flags |= lib.MB_OPF_RELATIVE
        elif letter in _PCRE_OPTIONS:
            options |= _PCRE_OPTIONS[letter]
        elif letter in PCRE_BUFFERS:
            buffer = PCRE_BUFFERS[letter]
        elif letter not in "BO":
            raise UnsupportedError(f"pcre option '{letter}' is unknown", f"pcre/{letter}")
    op.a = options - (1 << 32) if options & 0x80000000 else options
    if buffer is None:
        draft.inspect(op)
        return
    draft.sticky_is_new = False
    use_buffer(draft, BUFFERS[buffer], "pcre")
    draft.chain(BUFFERS[buffer].key).append(op)


def _flag(draft: Draft, op: Op, word: str) -> bool:
    """Reads an argument that byte_test, byte_jump and byte_extract share."""
    name, _, rest = word.partition(" ")
    rest = rest.strip()
    match name:
        case "relative":
            op.flags |= lib.MB_OPF_RELATIVE
        case "little":
            op.flags |= lib.MB_OPF_LITTLE
        case "big":
            op.flags &= ~lib.MB_OPF_LITTLE
        case "string":
            op.flags |= lib.MB_OPF_STRING
        case "dec" | "hex" | "oct":
            op.y = _BASES[name]
        case "align":
            op.flags |= lib.MB_OPF_ALIGN
        case "from_beginning":
            op.flags |= lib.MB_OPF_BEGINNING
        case "from_end":
            op.flags |= lib.MB_OPF_END
        case "dce":
            op.flags |= lib.MB_OPF_DCE
        case "post_offset":
            op.b = number(rest, -_EDGE, _EDGE)
        case _:
            return False
    return True


def _offset(draft: Draft, op: Op, text: str) -> None:
    if text[:1].isalpha() or text[:1] == "_":
        op.c = draft.variable(text)
        op.vars |= lib.MB_OPV_C
    else:
        op.c = number(text, -INT_MAX, INT_MAX)


def _count(draft: Draft, op: Op, text: str, high: int) -> None:
    if text[:1].isalpha() or text[:1] == "_":
        op.a = draft.variable(text)
        op.vars |= lib.MB_OPV_A
    else:
        op.a = number(text, 0 if high > 8 else 1, high)


def _check_size(op: Op, what: str) -> None:
    if not op.flags & lib.MB_OPF_STRING and not op.vars & lib.MB_OPV_A and not op.a <= 8:
        raise RuleError(f"{what} reads 1 to 8 bytes, more only with string")


def _arguments(draft: Draft, op: Op, rest: list[str], what: str) -> tuple[int, int]:
    """Reads the arguments by name: multiplier, bit mask."""
    multiplier, mask = 1, 0xFFFFFFFFFFFFFFFF
    for word in rest:
        name, _, text = word.partition(" ")
        if name == "bitmask":
            mask = number("0x" + text.strip().lower().removeprefix("0x"), 1, 0xFFFFFFFFFFFFFFFF)
        elif name == "multiplier":
            multiplier = number(text.strip(), 1, 65535)
        elif not _flag(draft, op, word):
            raise UnsupportedError(f"argument '{word}' is unknown", f"{what} {name}")
    _check_size(op, what)
    return multiplier, mask


@keyword("byte_test")
def byte_test(draft: Draft, value: str, option: Option) -> None:
    """Compares a number in the bytes."""
    args = words(value)
    if len(args) < 4:
        raise RuleError("byte_test is: bytes, operator, value, offset, ...")
    op = Op(lib.MB_OP_BYTE_TEST)
    _count(draft, op, args[0], 23)
    operator = args[1]
    if operator.startswith("!"):
        op.flags |= lib.MB_OPF_NOT
        operator = operator[1:].strip() or "="
    if operator not in _OPERATORS:
        raise RuleError(f"operator '{args[1]}' is unknown")
    op.x = _OPERATORS[operator]
    wanted = 0
    if args[2][:1].isalpha() or args[2][:1] == "_":
        op.b = draft.variable(args[2])
        op.vars |= lib.MB_OPV_B
    else:
        wanted = number(args[2], 0, 0xFFFFFFFFFFFFFFFF)
    _offset(draft, op, args[3])
    _, mask = _arguments(draft, op, args[4:], "byte_test")
    op.data = struct.pack("=QQ", wanted, mask)
    draft.inspect(op)


@keyword("byte_jump")
def byte_jump(draft: Draft, value: str, option: Option) -> None:
    """Reads a number and goes on that many bytes further."""
    args = words(value)
    if len(args) < 2:
        raise RuleError("byte_jump is: bytes, offset, ...")
    op = Op(lib.MB_OP_BYTE_JUMP)
    _count(draft, op, args[0], 23)
    _offset(draft, op, args[1])
    multiplier, mask = _arguments(draft, op, args[2:], "byte_jump")
    op.data = struct.pack("=QQ", multiplier, mask)
    draft.inspect(op)


def _new_variable(draft: Draft, name: str) -> int:
    """The number of a variable that is given a value."""
    found = draft.variables.setdefault(name, len(draft.variables))
    if found >= lib.MB_RULE_VARS:
        raise RuleError(f"a rule has at most {lib.MB_RULE_VARS} variables")
    return found


@keyword("byte_extract")
def byte_extract(draft: Draft, value: str, option: Option) -> None:
    """Reads a number into a variable."""
    args = words(value)
    if len(args) < 3:
        raise RuleError("byte_extract is: bytes, offset, name, ...")
    op = Op(lib.MB_OP_BYTE_EXTRACT)
    _count(draft, op, args[0], 23)
    _offset(draft, op, args[1])
    multiplier, mask = _arguments(draft, op, args[3:], "byte_extract")
    op.d = _new_variable(draft, args[2])
    op.data = struct.pack("=QQ", multiplier, mask)
    draft.inspect(op)


_MATH = {"+": "+", "-": "-", "*": "*", "/": "/", "<<": "<", ">>": ">"}


@keyword("byte_math")
def byte_math(draft: Draft, value: str, option: Option) -> None:
    """Reads a number and leaves the result of a calculation in a variable."""
    op = Op(lib.MB_OP_BYTE_MATH)
    named = {name: text.strip() for name, _, text in (w.partition(" ") for w in words(value))}
    if not {"bytes", "offset", "oper", "rvalue", "result"} <= named.keys():
        raise RuleError("byte_math is: bytes, offset, oper, rvalue, result, ...")
    _count(draft, op, named.pop("bytes"), 23)
    _offset(draft, op, named.pop("offset"))
    operator = named.pop("oper")
    if operator not in _MATH:
        raise RuleError(f"operator '{operator}' is unknown")
    op.x = ord(_MATH[operator])
    right, wanted = named.pop("rvalue"), 0
    if right[:1].isalpha() or right[:1] == "_":
        op.b = draft.variable(right)
        op.vars |= lib.MB_OPV_B
    else:
        wanted = number(right, 0, 0xFFFFFFFF)
    op.d = _new_variable(draft, named.pop("result"))
    base = named.pop("string", "")
    order = named.pop("endian", "big")
    rest = [f"{name} {text}".strip() for name, text in named.items()]
    rest += ["string", base] if base else []
    _, mask = _arguments(draft, op, [*rest, order], "byte_math")
    op.data = struct.pack("=QQ", wanted, mask)
    draft.inspect(op)


@keyword("isdataat")
def isdataat(draft: Draft, value: str, option: Option) -> None:
    """There are bytes at that place."""
    op = Op(lib.MB_OP_ISDATAAT)
    args = words(value)
    if args[0].startswith("!"):
        op.flags |= lib.MB_OPF_NOT
        args[0] = args[0][1:].strip()
    _offset(draft, op, args[0])
    for word in args[1:]:
        if word == "relative":
            op.flags |= lib.MB_OPF_RELATIVE
        elif word != "rawbytes":
            raise RuleError(f"argument '{word}' is unknown")
    draft.inspect(op)


@keyword("bsize")
def bsize(draft: Draft, value: str, option: Option) -> None:
    """Length of the buffer."""
    if draft.sticky is None:
        raise RuleError("bsize needs a buffer such as http.uri before it")
    low, high, negated = number_range(value)
    draft.inspect(Op(lib.MB_OP_BSIZE, low, high, flags=lib.MB_OPF_NOT if negated else 0))


@keyword("base64_decode")
def base64_decode(draft: Draft, value: str, option: Option) -> None:
    """Decodes base64 at a place of the buffer; base64_data looks at the result."""
    op = Op(lib.MB_OP_BASE64_DECODE)
    for word in words(value) if value else []:
        name, _, text = word.partition(" ")
        if name == "relative":
            op.flags |= lib.MB_OPF_RELATIVE
        elif name == "bytes":
            op.a = number(text.strip(), 1, _EDGE)
        elif name == "offset":
            op.c = number(text.strip(), 0, _EDGE)
        else:
            raise RuleError(f"argument '{word}' is unknown")
    draft.inspect(op)


@keyword("base64_data")
def base64_data(draft: Draft, value: str, option: Option) -> None:
    """What follows looks at what base64_decode gave."""
    chains = draft.program.inspections.values()
    if not any(op.type == lib.MB_OP_BASE64_DECODE for chain in chains for op in chain):
        raise RuleError("base64_data needs a base64_decode before it")
    draft.sticky, draft.sticky_is_new = (lib.MB_BUF_BASE64, ()), False


@keyword("pkt_data")
def pkt_data(draft: Draft, value: str, option: Option) -> None:
    """What follows looks at the payload."""
    draft.sticky, draft.sticky_is_new = None, False
