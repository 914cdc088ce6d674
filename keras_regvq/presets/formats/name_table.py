"""Two projects' names of the same tensors: one table, read both ways."""

import re

_FIELDS = {"part": "encoder|decoder", "level": r"\d{1,9}", "turn": r"\d{1,9}", "block": r"\d{1,9}"}


class NameTable:
    """Renames tensors from one project's names to another's, and back.

    Args:
        starts: {ours: theirs}, how names start. In braces stands what differs: {part}, "encoder" or
            "decoder"; {level} and {block}, numbers; and {turn}, a level counted from the other end,
            as by projects that count a decoder's levels in the order in which they run.
        insides: {ours: theirs}, the part of a name that follows its start; others stay.

    Example:
        table = NameTable({"decoder.up.{level}.": "decoder.up_blocks.{turn}."}, {"q": "to_q"})
        table.to_theirs("decoder.up.0.q.weight", levels=3)  # "decoder.up_blocks.2.to_q.weight"
    """

    def __init__(self, starts, insides=None):
        self.starts, self.insides = dict(starts), dict(insides or {})
        self._there = _compiled(self.starts), self.insides
        self._back = _compiled(_inverted(self.starts)), _inverted(self.insides)

    def to_theirs(self, name, levels=0):
        """Their name of a tensor in a model of so many levels; None if the table has none."""
        return _renamed(name, levels, *self._there)

    def to_ours(self, name, levels=0):
        """Our name of a tensor in a model of so many levels; None if the table has none."""
        return _renamed(name, levels, *self._back)


def _inverted(table):
    inverted = {theirs: ours for ours, theirs in table.items()}
    assert len(inverted) == len(table), "two names for one"
    return inverted


def _compiled(starts):
    pairs = []
    for start, other in starts.items():
        pattern = re.escape(start)
        for field, values in _FIELDS.items():
            pattern = pattern.replace(rf"\{{{field}\}}", f"(?P<{field}>{values})")
        pairs.append((re.compile(pattern), other))
    return pairs


def _renamed(name, levels, starts, insides):
    for pattern, other in starts:
        match = pattern.match(name)
        if match is None:
            continue
        fields, rest = match.groupdict(), name[match.end() :]
        for field, opposite in (("level", "turn"), ("turn", "level")):
            if field in fields:
                fields.setdefault(opposite, levels - 1 - int(fields[field]))
        for inside, their_inside in insides.items():
            if rest.startswith(f"{inside}."):
                rest = their_inside + rest.removeprefix(inside)
                break
        return other.format(**fields) + rest
    return None
