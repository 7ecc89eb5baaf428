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
    lr, limit, name = draw(rates), draw(st.floats(0.1, 5)), draw(st.sampled_from(["norm", "value"]))

    def twin(torch: Any, tensors: Mapping[str, Any]) -> Callable[[], None]:
        weights = list(tensors.values())
        descent = torch.optim.SGD(weights, lr, momentum=0.5)
        clip = getattr(torch.nn.utils, f"clip_grad_{name}_")

        def step() -> None:
            clip(weights, limit)
            descent.step()

        return step

    return OneRule(optim.Clipped(optim.SGD(lr, momentum=0.5), **{name: limit}), twin)


def groups(draw: st.DrawFn) -> OneRule:
    one, other = draw(rates), draw(rates)

    def twin(torch: Any, tensors: Mapping[str, Any]) -> Callable[[], None]:
        biases = [tensor for name, tensor in tensors.items() if name.endswith("bias")]
        weights = [tensor for name, tensor in tensors.items() if not name.endswith("bias")]
        parts = [{"params": weights}, {"params": biases, "lr": other, "weight_decay": 0.0}]
        return torch.optim.SGD(parts, one, momentum=0.9, weight_decay=0.1).step

    rest = optim.SGD(one, momentum=0.9, weight_decay=0.1)
    return OneRule(optim.Groups(rest, ((("bias",), optim.SGD(other, momentum=0.9)),)), twin)


def lars(draw: st.DrawFn) -> OneRule:
    """Algorithm 1 of You et al. 2017, parameter by parameter."""
    lr, decay, trust = draw(rates), draw(fractions), draw(st.floats(1e-3, 0.1))

    def twin(torch: Any, tensors: Mapping[str, Any]) -> Callable[[], None]:
        velocities = {name: torch.zeros_like(w) for name, w in tensors.items()}

        def step() -> None:
            with torch.no_grad():
                for name, w in tensors.items():
                    rate = lr * trust * w.norm() / (w.grad.norm() + decay * w.norm())
                    velocities[name].mul_(0.8).add_(rate * (w.grad + decay * w))
                    w.sub_(velocities[name])

        return step

    return OneRule(optim.LARS(lr, momentum=0.8, weight_decay=decay, trust=trust), twin)


RULES = [
    rule(optim.SGD, sgd),
    named(optim.Adagrad, lr=rates, eps=tiny, weight_decay=fractions),
    named(optim.RMSprop, lr=rates, alpha=fractions, momentum=fractions, eps=tiny,
          weight_decay=fractions),
    named(optim.Adam, lr=rates, betas=betas, eps=tiny, weight_decay=fractions),
    named(optim.AdamW, lr=rates, betas=betas, eps=tiny, weight_decay=fractions),
    rule(optim.LARS, lars, notes={"oracle": "PyTorch has none; the paper's algorithm 1, written "
                                  "out on its tensors"}),
    rule(optim.Clipped, clipped),
    rule(optim.Groups, groups),
]  # fmt: skip
