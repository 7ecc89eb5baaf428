"""The rows of update rules. Each twin is an optimizer of PyTorch, or what its note says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import strategies as st
from rows import OneRule, Row

from minidl import optim

rates, fractions = st.floats(1e-4, 1.0), st.floats(0, 0.99)
tiny, booleans = st.floats(1e-8, 1e-2), st.booleans()
betas = st.tuples(fractions, fractions)


def rule(kind: type[Any], drawn: Callable[..., Any], **settings: Any) -> Row:
    return Row(
        kind,
        st.composite(drawn)(),
        absent={"finite differences": "an update rule is no function with a gradient"},
        **settings,
    )


def named(kind: type[Any], **settings: st.SearchStrategy[Any]) -> Row:
    """A rule that PyTorch has under the same name, with the same settings."""

    def drawn(draw: st.DrawFn) -> OneRule:
        chosen = {name: draw(values) for name, values in settings.items()}

        def twin(torch: Any, tensors: Mapping[str, Any]) -> Callable[[], None]:
            return getattr(torch.optim, kind.__name__)(list(tensors.values()), **chosen).step

        return OneRule(kind(**chosen), twin)

    return rule(kind, drawn)


def sgd(draw: st.DrawFn) -> OneRule:
    lr, momentum, decay = draw(rates), draw(fractions), draw(fractions)
    chosen = {"momentum": momentum, "weight_decay": decay, "nesterov": momentum > 0.5}

    def twin(torch: Any, tensors: Mapping[str, Any]) -> Callable[[], None]:
        return torch.optim.SGD(list(tensors.values()), lr, **chosen).step

    return OneRule(optim.SGD(lr, **chosen), twin)


def clipped(draw: st.DrawFn) -> OneRule:
    lr, name = draw(rates), draw(st.sampled_from(["norm", "value"]))
    limit = draw(st.sampled_from([0.3, 1.0, 1.3]) | st.floats(0.1, 5))

    def twin(torch: Any, tensors: Mapping[str, Any]) -> Callable[[], None]:
        weights = list(tensors.values())
        descent = torch.optim.SGD(weights, lr, momentum=0.5)
        clip = getattr(torch.nn.utils, f"clip_grad_{name}_")

        def step() -> None:
            clip(weights, limit)
            descent.step()

        return step

    return OneRule(optim.Clipped(optim.SGD(lr, momentum=0.5), **{name: limit}), twin)


def lars_step(torch: Any, tensors: Mapping[str, Any], of: optim.LARS) -> Callable[[], None]:
    """Algorithm 1 of You et al. 2017, parameter by parameter."""
    velocities = {name: torch.zeros_like(w) for name, w in tensors.items()}

    def step() -> None:
        with torch.no_grad():
            for name, w in tensors.items():
                rate = of.lr * of.trust * w.norm() / (w.grad.norm() + of.weight_decay * w.norm())
                velocities[name].mul_(of.momentum).add_(rate * (w.grad + of.weight_decay * w))
                w.sub_(velocities[name])

    return step


lars_rules = st.builds(optim.LARS, rates, st.just(0.8), fractions, st.floats(1e-3, 0.1))


def lars(draw: st.DrawFn) -> OneRule:
    rule = draw(lars_rules)
    return OneRule(rule, lambda torch, tensors: lars_step(torch, tensors, rule))


def groups(draw: st.DrawFn) -> OneRule:
    """Biases by LARS, which must be told where they are; all else by momentum."""
    lr, other = draw(rates), draw(lars_rules)

    def twin(torch: Any, tensors: Mapping[str, Any]) -> Callable[[], None]:
        biases = {name: tensor for name, tensor in tensors.items() if name.endswith("bias")}
        weights = [tensor for name, tensor in tensors.items() if name not in biases]
        steps = (
            torch.optim.SGD(weights, lr, momentum=0.9, weight_decay=0.1).step,
            lars_step(torch, biases, other),
        )

        def step() -> None:
            for each in steps:
                each()

        return step

    rest = optim.SGD(lr, momentum=0.9, weight_decay=0.1)
    return OneRule(optim.Groups(rest, ((("bias",), other),)), twin)


def staleness_aware(draw: st.DrawFn) -> OneRule:
    """In a run without stale gradients, it is the rule within."""
    lr, way = draw(rates), draw(st.sampled_from(["gradient", "mean"]))

    def twin(torch: Any, tensors: Mapping[str, Any]) -> Callable[[], None]:
        return torch.optim.SGD(list(tensors.values()), lr, momentum=0.5).step

    return OneRule(optim.StalenessAware(optim.SGD(lr, momentum=0.5), way), twin)


BY_HAND = "PyTorch has none; algorithm 1 of the paper, written out on its tensors"
RULES = [
    rule(optim.SGD, sgd),
    named(optim.Adagrad, lr=rates, eps=tiny, weight_decay=fractions),
    named(optim.RMSprop, lr=rates, alpha=fractions, momentum=fractions, eps=tiny,
          weight_decay=fractions),
    named(optim.Adam, lr=rates, betas=betas, eps=tiny, weight_decay=fractions),
    named(optim.AdamW, lr=rates, betas=betas, eps=tiny, weight_decay=fractions),
    rule(optim.LARS, lars, notes={"oracle": BY_HAND}),
    rule(optim.Clipped, clipped),
    rule(optim.Groups, groups, notes={"oracle": f"for the group's LARS, {BY_HAND}"}),
    rule(optim.StalenessAware, staleness_aware),
]  # fmt: skip
