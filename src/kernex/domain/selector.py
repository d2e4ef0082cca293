"""Selectors: expressions over labels and facts that pick devices.

``site=lyon,gpu.memory_mb>=8000,arch in (aarch64,x86_64)``: comma means *and*. Terms: ``k=v``, ``k!=v``,
``k in (a,b)``, ``k notin (a,b)``, ``k`` (is there), ``!k`` (is not there), and ``k<v``, ``k<=v``,
``k>v``, ``k>=v``. Dots reach into nested facts; a label wins over a fact of the same name. The empty
selector, and ``*``, pick every device. As in Kubernetes, ``!=`` and ``notin`` also pick devices that
lack the key.
"""

import operator as compare
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from packaging.version import InvalidVersion, Version

from kernex.domain.errors import RejectedError

MAX_LENGTH = 4096  # characters

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<": compare.lt,
    "<=": compare.le,
    ">": compare.gt,
    ">=": compare.ge,
}

_KEY = r"[A-Za-z0-9_][A-Za-z0-9_./-]*"
_VALUE = r"[A-Za-z0-9_.:/+-]+"
_TERM = re.compile(
    rf"\s*(?:(?P<absent>!)\s*(?P<absent_key>{_KEY})"
    rf"|(?P<set_key>{_KEY})\s+(?P<set_op>in|notin)\s*\((?P<values>[^()]*)\)"
    rf"|(?P<key>{_KEY})\s*(?:(?P<op>!=|==|=|<=|>=|<|>)\s*(?P<value>{_VALUE}))?)\s*(?:,|$)"
)


@dataclass(frozen=True, slots=True)
class Term:
    """One condition. `operator` is one of ``in notin exists !exists < <= > >=``."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def holds(self, properties: Mapping[str, Any]) -> bool:
        value = lookup(properties, self.key)
        match self.operator:
            case "exists":
                return value is not None
            case "!exists":
                return value is None
            case "in":
                return value is not None and _any_equal(value, self.values)
            case "notin":
                return value is None or not _any_equal(value, self.values)
            case _:
                return value is not None and _ordered(value, self.operator, self.values[0])

    def __str__(self) -> str:
        match self.operator:
            case "exists":
                return self.key
            case "!exists":
                return f"!{self.key}"
            case "in" | "notin" if len(self.values) == 1 and re.fullmatch(_VALUE, self.values[0]):
                return f"{self.key}{'=' if self.operator == 'in' else '!='}{self.values[0]}"
            case "in" | "notin":
                return f"{self.key} {self.operator} ({','.join(self.values)})"
            case _:
                return f"{self.key}{self.operator}{self.values[0]}"


@dataclass(frozen=True, slots=True)
class Selector:
    """All `terms` must hold."""

    terms: tuple[Term, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Selector":
        if len(text) > MAX_LENGTH:
            raise RejectedError(f"cannot read a selector of {len(text)} characters: {MAX_LENGTH} at most")
        if text.strip() in ("", "*"):
            return cls()
        terms, position = [], 0
        while position < len(text):
            match = _TERM.match(text, position)
            if match is None:
                raise RejectedError(
                    f"cannot read the selector at {text[position : position + 40]!r}: "
                    "write it like site=lyon,gpu.memory_mb>=8000,arch in (aarch64,x86_64)"
                )
            terms.append(_term(match))
            position = match.end()
        if text.endswith(","):
            raise RejectedError(f"cannot end the selector {text[-40:]!r} with a comma: a term is missing")
        return cls(tuple(terms))

    def matches(self, properties: Mapping[str, Any]) -> bool:
        return all(term.holds(properties) for term in self.terms)

    def __str__(self) -> str:
        return ",".join(map(str, self.terms)) or "*"


def unmet(requires: Mapping[str, str], facts: Mapping[str, Any]) -> list[str]:
    """Why a device with these facts cannot run a bundle that requires this; empty when it can.

    Values read ``x86_64|aarch64`` (one of these) or ``>=4000`` (a bound).
    """
    reasons = []
    for key, wanted in requires.items():
        bound = re.fullmatch(r"\s*(<=|>=|<|>)\s*(\S+)\s*", wanted)
        term = Term(key, bound[1], (bound[2],)) if bound else Term(key, "in", tuple(map(str.strip, wanted.split("|"))))
        if not term.holds(facts):
            has = lookup(facts, key)
            reasons.append(f"{key} must be {wanted}, the device has {'none' if has is None else has}")
    return reasons


def lookup(properties: Mapping[str, Any], key: str) -> Any:
    """The value under a dotted key, the longest literal key first; None when there is none."""
    if key in properties:
        return properties[key]
    for cut in range(len(key) - 1, 0, -1):
        if key[cut] == "." and isinstance(inner := properties.get(key[:cut]), Mapping):
            return lookup(inner, key[cut + 1 :])
    return None


def _term(match: re.Match[str]) -> Term:
    if match["absent"]:
        return Term(match["absent_key"], "!exists")
    if match["set_op"]:
        values = tuple(value.strip() for value in match["values"].split(",") if value.strip())
        if not values:
            raise RejectedError(f"cannot choose {match['set_key']} from nothing: name values, like (a,b)")
        return Term(match["set_key"], match["set_op"], values)
    match match["op"]:
        case None:
            return Term(match["key"], "exists")
        case "=" | "==":
            return Term(match["key"], "in", (match["value"],))
        case "!=":
            return Term(match["key"], "notin", (match["value"],))
        case operator:
            return Term(match["key"], operator, (match["value"],))


def _any_equal(value: Any, wanted: tuple[str, ...]) -> bool:
    have = value if isinstance(value, list) else [value]
    return any(_text(one) in wanted for one in have)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _ordered(value: Any, operator: str, bound: str) -> bool:
    """Compare as numbers when the device said a number, as versions when it said a string.

    So ``8192 >= 8000`` and ``"1.10" > "1.9"`` both hold. What is neither never matches.
    """
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _COMPARE[operator](value, float(bound))
        return _COMPARE[operator](Version(_text(value)), Version(bound))
    except (ValueError, InvalidVersion):
        return False
