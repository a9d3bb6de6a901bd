"""What a function changes of what it holds of the function around it, read from its bytecode.

A patch keeps its settings there, and perhaps a state: of two dicts, one says how strong it is, and it writes into the
other what it has seen.
"""
from __future__ import annotations

import dis
import types
from collections.abc import Iterator, Mapping
from typing import Any

# Methods of dicts and lists that change nothing.
READING = ("get", "items", "keys", "values", "copy", "index", "count")
WRITING = ("append", "clear", "extend", "insert", "pop", "popitem", "remove", "reverse", "setdefault", "sort", "update")
ENDS = ("JUMP", "STORE", "DELETE", "RETURN", "YIELD", "FOR")  # of an expression, or of what is followed of it
UNCHANGING = (bool, int, float, complex, str, bytes, type(None))


def rebound(code: types.CodeType) -> set[str]:
    """The names of the surrounding function to which a function, or one inside it, gives new values."""
    own = {str(step.argval) for step in dis.get_instructions(code) if step.opname in ("STORE_DEREF", "DELETE_DEREF")}
    return own.union(*(rebound(inner) for inner in _inside(code))) & set(code.co_freevars)


def only_read(code: types.CodeType, name: str) -> bool:
    """Whether a function, and those inside it, can be seen to do nothing with a dict or list of the surrounding
    function but look things up. Where it is handed on, who knows.

    >>> def around(table, seen):
    ...     def inside(key):
    ...         seen[key] = table.get(key, 0) + table[key + 1]
    ...     return inside.__code__
    >>> only_read(around({}, {}), "table"), only_read(around({}, {}), "seen")
    (True, False)
    """
    steps = [step for step in dis.get_instructions(code) if step.opname != "CACHE"]
    return (all(_looked_up(steps[index + 1:]) for index, step in enumerate(steps)
                if step.argval == name and step.opname.startswith("LOAD") and "DEREF" in step.opname)
            and all(only_read(inner, name) for inner in _inside(code) if name in inner.co_freevars))


def written_into(code: types.CodeType, name: str) -> bool:
    """Whether a function, or one inside it, can be seen to change a dict or list that it knows by this name: by giving
    an item a value, or by one of the methods that change it. Where it is handed on, nothing is seen.

    >>> def inside(table, seen, handed_on):
    ...     seen[table["key"]] = 1
    ...     handed_on.update(seen)
    >>> [written_into(inside.__code__, name) for name in ("table", "seen", "handed_on")]
    [False, True, True]
    """
    steps = [step for step in dis.get_instructions(code) if step.opname != "CACHE"]
    for index, step in enumerate(steps):
        if not (step.opname.startswith("LOAD") and ("DEREF" in step.opname or "FAST" in step.opname)):
            continue
        names = step.argval if isinstance(step.argval, tuple) else (step.argval,)
        for above, loaded in enumerate(reversed(names)):
            if loaded == name and _changed(steps[index + 1:], above):
                return True
    return any(written_into(inner, name) for inner in _inside(code) if name in inner.co_freevars)


def settings_in(value: Mapping | list) -> Any:
    """The part of a dict or list that nothing can change but through it: numbers and words, and tuples of them."""
    if isinstance(value, list):
        return [item for item in value if _unchanging(item)]
    return {key: item for key, item in value.items() if _unchanging(item)}


def _inside(code: types.CodeType) -> Iterator[types.CodeType]:
    return (constant for constant in code.co_consts if isinstance(constant, types.CodeType))


def _unchanging(value: Any) -> bool:
    return all(map(_unchanging, value)) if isinstance(value, tuple) else isinstance(value, UNCHANGING)


def _changed(steps: list[dis.Instruction], above: int) -> bool:
    """Whether the instructions after the one that loads a holder, with so many values above it on the stack, change
    it."""
    if not above and steps[0].opname in ("LOAD_ATTR", "LOAD_METHOD"):
        return steps[0].argval in WRITING
    turned = False
    for step in steps:
        if step.opname in ("STORE_SUBSCR", "DELETE_SUBSCR"):
            # The holder lies below the key. With two values above it, it is what is stored, unless `holder[key] += 1`
            # has turned the three round.
            return above == 1 + turned
        turned |= step.opname.startswith(("SWAP", "ROT"))
        if any(end in step.opname for end in ENDS):
            return False
        above += dis.stack_effect(step.opcode, step.arg, jump=False)
        if not step.opname.startswith(("LOAD", "PUSH", "COPY", "DUP", "SWAP", "ROT")) and above < 1:
            return False  # the holder itself was used
    return False


def _looked_up(steps: list[dis.Instruction]) -> bool:
    """Whether the instructions after the one that loads a holder look something up in it and do nothing else."""
    if steps[0].opname in ("LOAD_ATTR", "LOAD_METHOD"):
        return steps[0].argval in READING
    if steps[0].opname in ("CONTAINS_OP", "GET_ITER"):
        return True
    above = 0  # values on the stack above the holder
    for step in steps:
        subscript = step.opname == "BINARY_SUBSCR" or (step.opname == "BINARY_OP" and step.argrepr == "[]")
        if subscript and above == 1:
            return True
        if any(end in step.opname for end in ENDS):
            return False
        above += dis.stack_effect(step.opcode, step.arg, jump=False)
        if not step.opname.startswith(("LOAD", "PUSH", "COPY", "DUP")) and above < 1:
            return False  # the holder itself was used
    return False
