"""Groups: parameters that are updated otherwise than the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from itertools import groupby
from typing import Any

from minidl.checks import naming
from minidl.errors import InputError
from minidl.nn.parameters import Array
from minidl.optim.optimizer import Optimizer

Patterns = tuple[str, ...]


@dataclass(frozen=True)
class Groups(Optimizer):
    """One update rule for some parameters, chosen by name, another one for the rest.

    >>> from minidl import optim
    >>> rule = Groups(optim.SGD(0.1), groups=((("0.*", "1.*"), optim.SGD(0.01)),))

    Parameters
    ----------
    optimizer
        For all parameters that no group names.
    groups
        Pairs of patterns and the rule for what they match; the first group that matches
        counts. A pattern, in which ``*`` stands for anything, is compared with a
        parameter's whole name (``"0.weight"``) and with its last part (``"weight"``).

    Raises
    ------
    InputError
        If a rule is no `Optimizer` or patterns are no text; at fit, if no parameter of the
        model is in a group.
    """

    optimizer: Optimizer
    groups: tuple[tuple[Patterns, Optimizer], ...]

    def __post_init__(self) -> None:
        try:
            groups = tuple((tuple(patterns), rule) for patterns, rule in self.groups)
            texts = all(isinstance(p, str) for patterns, _ in groups for p in patterns)
            # A text is a tuple of texts too, each of one letter.
            texts = texts and not any(isinstance(patterns, str) for patterns, _ in self.groups)
        except (TypeError, ValueError):
            texts = False
        if not texts:
            raise InputError(
                "Groups: groups must be pairs (patterns, optimizer), patterns a tuple of text, "
                f"not {self.groups!r}"
            )
        object.__setattr__(self, "groups", groups)
        self.require_inner(self.optimizer)
        with naming("groups"):
            for _, rule in groups:
                self.require_inner(rule)

    @property
    def slots(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for rule in self._rules() for name in rule.slots))

    @property
    def needs_norm(self) -> bool:
        return any(rule.needs_norm for rule in self._rules())

    def check(self, names: Iterable[str]) -> None:
        names = list(names)
        numbers = {self._number(name) for name in names}
        for number, (patterns, rule) in enumerate(self.groups):
            if number not in numbers:
                raise InputError(
                    f"Groups: no parameter is matched by {patterns}, or groups before have taken "
                    f"it; there are {', '.join(names)}"
                )
            rule.check([name for name in names if self._number(name) == number])
        self.optimizer.check([name for name in names if self._number(name) == len(self.groups)])

    def slowed(self, factor: float) -> Groups:
        groups = tuple((patterns, rule.slowed(factor)) for patterns, rule in self.groups)
        return Groups(self.optimizer.slowed(factor), groups)

    def step(self, values: Array, grads: Array, slots: dict[str, Array], step: int) -> None:
        """Raises TypeError: only `update` is told which parameter is where."""
        raise TypeError("Groups must be told where each parameter lies: call update, not step")

    def update(
        self,
        values: Array,
        grads: Array,
        slots: dict[str, Array],
        step: int,
        places: Mapping[str, slice],
        norm: float,
    ) -> None:
        self._expect_vectors(values, grads, slots)
        rules = self._rules()
        for number, names in groupby(places, self._number):
            inside = {name: places[name] for name in names}
            first = min(place.start for place in inside.values())
            last = max(place.stop for place in inside.values())
            segment = slice(first, last)
            rule = rules[number]
            rule.update(
                values[segment],
                grads[segment],
                {name: slots[name][segment] for name in rule.slots},
                step,
                {n: slice(p.start - first, p.stop - first) for n, p in inside.items()},
                norm,
            )

    def _rules(self) -> list[Optimizer]:
        """The rule of each group, and at last that of the rest."""
        return [*(rule for _, rule in self.groups), self.optimizer]

    def _number(self, name: str) -> int:
        """Which of the rules is for a parameter."""
        matching = (
            number
            for number, (patterns, _) in enumerate(self.groups)
            if any(
                fnmatchcase(part, pattern)
                for pattern in patterns
                for part in (name, name.rpartition(".")[2])
            )
        )
        return next(matching, len(self.groups))


BIASES_AND_NORMS = ("bias*", "gamma", "beta")


def without_decay(optimizer: Optimizer, patterns: Patterns = BIASES_AND_NORMS) -> Groups:
    """The same update rule, but for some parameters without weight decay.

    Parameters
    ----------
    optimizer
        A rule with a `weight_decay`.
    patterns
        Names of the parameters that do not decay, as for `Groups`; by default all
        biases, and the scales and shifts of normalisation.

    Raises
    ------
    InputError
        If the rule has no weight decay, or the patterns are no tuple of text.
    """
    has_decay = isinstance(optimizer, Optimizer) and any(
        field.name == "weight_decay" for field in fields(optimizer)
    )
    if not has_decay:
        raise InputError(
            f"without_decay: an optimizer with a weight_decay is needed, not {optimizer!r}"
        )
    settings: dict[str, Any] = {"weight_decay": 0.0}
    return Groups(optimizer, ((patterns, replace(optimizer, **settings)),))
