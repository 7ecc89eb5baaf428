"""What students get wrong, one thing at a time, and what they are to be told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mistake:
    """A solution with one thing wrong.

    Parameters
    ----------
    exercise
        Whose solution.
    changes
        What is replaced in it by what.
    score
        What is left of 100 points.
    words
        What the report has to say.
    """

    exercise: str
    changes: dict[str, str]
    score: float
    words: tuple[str, ...]


EARLY = {
    "self.next = 0": "self.next, self.whole = 0, [max(1, len(names)) for names in buckets]",
    "not self.missing[self.next]": "len(self.missing[self.next]) < self.whole[self.next]",
}
"""Launches a bucket with the first of its gradients."""
MISTAKES = {
    "rows-for-columns": Mistake(
        "hw_batch_norm",
        {"x - x.mean(axis=0)": "x - x.mean(axis=1, keepdims=True)"},
        0,
        ("smallest case found: M = 2, C = 1, seed = 0", "over its M rows"),
    ),
    "unbiased-variance": Mistake(
        "hw_batch_norm",
        {"(off * off).mean(axis=0)": "x.var(axis=0, ddof=1)"},
        0,
        ("smallest case found: M = 2, C = 1, seed = 0", "divides by M", "and y is beta"),
    ),
    "difference-of-squares": Mistake(
        "hw_batch_norm",
        {"(off * off).mean(axis=0)": "np.abs((x * x).mean(axis=0) - x.mean(axis=0) ** 2)"},
        90,
        ("E[x²] - E[x]² is the difference of two large numbers",),
    ),
    "no-way-through-the-mean": Mistake(
        "hw_batch_norm",
        {"dy - dy.mean(axis=0) - normal": "dy - normal"},
        55,
        ("M = 2, C = 1, seed = 0", "every column of dx has to sum to 0"),
    ),
    "no-way-through-the-variance": Mistake(
        "hw_batch_norm",
        {" - normal * (dy * normal).mean(axis=0)": ""},
        65,
        ("M = 2, C = 1, seed = 0", "the way through the variance"),
    ),
    "kept-in-a-global": Mistake(
        "hw_batch_norm",
        {
            "return gamma * normal + beta, (": "global KEPT; KEPT = (normal, inv_std, gamma)\n"
            "    return gamma * normal + beta, (",
            "gamma = saved": "gamma = KEPT",
        },
        90,
        ("with two batches under way, dx of number 1", "not in a global"),
    ),
    "changed-in-place": Mistake(
        "hw_batch_norm",
        {"off = x - x.mean(axis=0)": "x -= x.mean(axis=0); off = x"},
        90,
        ("x, which is not to be changed, is",),
    ),
    "gates-in-another-order": Mistake(
        "hw_lstm",
        {"zi, zf, zg, zo = ": "zi, zf, zo, zg = "},
        0,
        ("smallest case found: N = 1, D = 1, H = 1, seed = 0", "i, f, g, o in this order"),
    ),
    "sigmoid-by-exp-over-exp": Mistake(
        "hw_lstm",
        {"(1 + np.tanh(z / 2)) / 2": "np.exp(z) / (1 + np.exp(z))"},
        95,
        ("N = 1, H = 1, seed = 0, far = 1000.0", "infinite / infinite is not a number"),
    ),
    "memory-by-one-way-only": Mistake(
        "hw_lstm",
        {"dc_next + dh_next * o": "dh_next * o"},
        40,
        ("given", "  c = [[", "c' does so by two ways", "by h and by c of the next step"),
    ),
    "tanh-without-its-slope": Mistake(
        "hw_lstm",
        {"dg * (1 - g**2)": "dg"},
        40,
        ("N = 1, D = 1, H = 1, seed = 0", "look at dz, gate by gate"),
    ),
    "outputs-of-inner-steps-forgotten": Mistake(
        "hw_lstm",
        {"dy[:, t] + dh": "dy[:, t] * (t == len(saved) - 1) + dh"},
        80,
        ("smallest case found: T = 2, N = 1, D = 1, H = 1, seed = 0", "by its own y"),
    ),
    "parameters-of-the-last-step-only": Mistake(
        "hw_lstm",
        {"sum(each) for each": "each[0] for each"},
        80,
        ("T = 2, N = 1, D = 1, H = 1", "the sum of what all steps give"),
    ),
    "span-without-dilation": Mistake(
        "hw_receptive_field",
        {"span = dilation * (kernel - 1)": "span = kernel - 1"},
        30,
        ("windows = [(2, 1, 0, 2)]", "the field of layer 0 is 2 and should be 3"),
    ),
    "own-stride-too-early": Mistake(
        "hw_receptive_field",
        {
            "        jump *= stride\n": "",
            "        centre +=": "        jump *= stride\n        centre +=",
        },
        35,
        ("windows = [(2, 2, 0, 1)]", "the field of layer 0 is 3 and should be 2"),
    ),
    "strides-added": Mistake(
        "hw_receptive_field",
        {"jump *= stride": "jump += stride - 1"},
        20,
        ("windows = [(1, 2, 0, 1), (1, 2, 0, 1)]", "the stride of layer 1 is 3 and should be 4"),
    ),
    "no-padding-in-the-centre": Mistake(
        "hw_receptive_field",
        {"(span / 2 - padding)": "(span / 2)"},
        60,
        ("windows = [(1, 1, 1, 1)]", "the centre of layer 0 is 0.0 and should be -1"),
    ),
    "ceiling-for-floor": Mistake(
        "hw_receptive_field",
        {"- span - 1) // stride": "- span + stride - 2) // stride"},
        65,
        ("the size of layer", "leaves the padding?"),
    ),
    "real-and-fake-swapped": Mistake(
        "hw_gan",
        {"logaddexp(0, -z), sigmoid(z) - 1": "logaddexp(0, z), sigmoid(z)"},
        35,
        ("smallest case found: name = real, size = 1, seed = 0", "each element is -log D, where"),
    ),
    "derivative-by-d": Mistake(
        "hw_gan",
        {"np.logaddexp(0, -z), sigmoid(z) - 1": "np.logaddexp(0, -z), -1 / sigmoid(z)"},
        55,
        ("name = real, size = 1, seed = 0", "the derivative of D by z is D (1 - D)"),
    ),
    "log-of-infinity": Mistake(
        "hw_gan",
        {"np.logaddexp(0, -z)": "np.log(1 + np.exp(-z))"},
        85,
        ("name = real, far = -10000.0", "np.logaddexp goes round that"),
    ),
    "the-generator-climbs": Mistake(
        "hw_gan",
        {"return -losses, -dz": "return losses, dz"},
        70,
        ("the losses of minimax", "falls as D takes samples for data"),
    ),
    "mean-instead-of-each": Mistake(
        "hw_gan",
        {"return np.logaddexp(0, z), sigmoid": "return np.logaddexp(0, z).mean(), sigmoid"},
        65,
        ("the losses of fake should have the shape (1, 1), not ()",),
    ),
    "the-generator-moves-first": Mistake(
        "hw_gan",
        {"(step + 1) % k": "step % k"},
        80,
        ("k = 2, rounds = 1", "schedule(0, 2) is ['discriminator', 'generator']"),
    ),
    "a-new-array-of-weights": Mistake(
        "hw_momentum",
        {"values -= ": "values = values - "},
        10,
        ("size = 1, steps = 1, seed = 0", "values -= ..., not values = values - ..."),
    ),
    "a-new-array-of-velocities": Mistake(
        "hw_momentum",
        {"v *= self.momentum": "v = v * self.momentum"},
        25,
        ("momentum = 0.5, nesterov = False, size = 1, steps = 2", "after step 2 w"),
    ),
    "dampened": Mistake(
        "hw_momentum",
        {"v += grads": "v += (1 - self.momentum) * grads"},
        25,
        ("steps = 1, seed = 0", "before the first step v is 0"),
    ),
    "rate-inside-the-velocity": Mistake(
        "hw_momentum",
        {
            "v += grads": "v += self.lr * grads",
            "self.lr * (grads + self.momentum * v if self.nesterov else v)": "("
            "self.lr * grads + self.momentum * v if self.nesterov else v)",
        },
        85,
        ("momentum = 0.5, nesterov = False, rates = [0.1, 0.2]", "comes in when w is moved"),
    ),
    "nesterov-with-the-old-velocity": Mistake(
        "hw_momentum",
        {
            "v *= self.momentum": "old = v.copy(); v *= self.momentum",
            "grads + self.momentum * v": "grads + self.momentum * old",
        },
        50,
        ("nesterov = True, size = 1, steps = 1, seed = 0", "after step 1 w"),
    ),
    "velocity-without-need": Mistake(
        "hw_momentum",
        {" if self.momentum else ()": ""},
        90,
        ("slots has 1 names and should have 0", "with a momentum of 0?"),
    ),
    "parts-off-by-one": Mistake(
        "hw_torus",
        {"first = place - 1 if reduce else place": "first = place"},
        40,
        ("smallest case found: rows = 1, columns = 2", "Is it whole after the second"),
    ),
    "finished-parts-not-gathered": Mistake(
        "hw_torus",
        {"            + around(own_row, column, parts, reduce=False)\n": ""},
        40,
        ("rows = 1, columns = 2", "in the end rank 0 holds of chunk 1 no contribution of rank 1"),
    ),
    "send-then-receive": Mistake(
        "hw_torus",
        {"append((*sends, *receives))": "extend([tuple(sends), tuple(receives)])"},
        20,
        (
            "rows = 1, columns = 2",
            "deadlock: rank 0 waits for rank 1",
            "Its Sends and its Receives belong into",
        ),
    ),
    "chunks-taken-in-another-order": Mistake(
        "hw_torus",
        {"parts[(first - s - 1) % n]]": "parts[(first - s - 1) % n][::-1]]"},
        20,
        ("rows = 2, columns = 2", "is what the rank before it sends in it, in the same order"),
    ),
    "rows-as-long-as-columns": Mistake(
        "hw_torus",
        {"divmod(rank, columns)": "divmod(rank, rows)"},
        0,
        ("rows = 1, columns = 2", "but the ranks are 0 to 1"),
    ),
    "columns-sum-the-whole-vector": Mistake(
        "hw_torus",
        {
            "chunks = [[chunk] for chunk in parts[column]]": "chunks = ["
            "list(range(x * columns, (x + 1) * columns)) for x in range(rows)]",
            "            + around(own_row, column, parts, reduce=False)\n": "",
            "            + around(own_column, row, chunks, reduce=True)\n": "            + "
            "around(own_row, column, parts, reduce=False)\n"
            "            + around(own_column, row, chunks, reduce=True)\n",
        },
        80,
        ("rows = 2, columns = 2", "sends 8 of 4 chunks; 2(P - 1) = 6 are enough"),
    ),
    "late-gradients-used": Mistake(
        "hw_server",
        {"if version < state.version": "if version < 0"},
        85,
        ("smallest case found: k = 1, learners = 2", "drop is ()", "not the newest any more"),
    ),
    "stopped-though-done": Mistake(
        "hw_server",
        {"cancel=others": "cancel=everyone"},
        70,
        ("k = 1, learners = 1, order = [0]", "cancel is (0,)", "all who are at work"),
    ),
    "waits-for-the-batch": Mistake(
        "hw_server",
        {"plans.Decision(state.version, release=(learner,))": "plans.Decision(state.version)"},
        70,
        ("k = 2, learners = 1, order = [0]", "learner 0 pushes its gradient 0", "release is ()"),
    ),
    "everyone-goes-on": Mistake(
        "hw_server",
        {"release=tuple(sorted(idle))": "release=tuple(range(state.learners))"},
        90,
        ("k = 1, spare = 1, order = [0]", "release is (0, 1)", "should be (0,)"),
    ),
    "stale-gradients-lost": Mistake(
        "hw_server",
        {
            "waiting = (*state.waiting, plans.Push(": "if version < state.version:\n"
            "            return state, plans.Decision(state.version)\n"
            "        waiting = (*state.waiting, plans.Push("
        },
        60,
        ("k = 1, spare = 1", "waiting 0 times", "each gradient that is pushed ends in one place"),
    ),
    "applied-and-kept": Mistake(
        "hw_server",
        {"plans.State(state.learners, new)": "plans.State(state.learners, new, waiting)"},
        0,
        ("k = 1, learners = 1, order = [0, 0]", "waiting 2 times", "nothing is kept of them"),
    ),
    "a-rule-with-a-memory": Mistake(
        "hw_server",
        {
            "waiting = (*state.waiting, push)": "KEPT.append(push)\n        waiting = (*KEPT,)",
            "@dataclass(frozen=True)\nclass KBatchSync": "KEPT = []\n\n\n"
            "@dataclass(frozen=True)\nclass KBatchSync",
        },
        40,
        ("answers differently when asked again",),
    ),
    "one-more-than-missed": Mistake(
        "hw_staleness",
        {"1 / max(1, missed)": "1 / (1 + missed)"},
        65,
        ("smallest case found: staleness = [1]", "divides it, unless that is less than 1"),
    ),
    "fresh-gradients-lost": Mistake(
        "hw_staleness",
        {"1 / max(1, missed)": "1 / missed if missed else 0.0"},
        55,
        ("staleness = [0]", "rule = ByGradient, gradients = 1", "this is plain gradient descent"),
    ),
    "by-the-root": Mistake(
        "hw_staleness",
        {"1 / max(1, missed)": "max(1, missed) ** -0.5"},
        45,
        ("staleness = [2]", "missed = 3, beyond = 1.9", "Do your weights fall as fast?"),
    ),
    "mean-of-the-inverses": Mistake(
        "hw_staleness",
        {
            "sum(staleness) / len(staleness)": "len(staleness) / sum("
            "1 / max(1, missed) for missed in staleness)"
        },
        65,
        ("staleness = [0, 2]", "one over the mean of what was missed"),
    ),
    "by-none": Mistake(
        "hw_staleness",
        {"1 / max(1.0, mean)": "1 / mean"},
        35,
        ("staleness = [0]", "ZeroDivisionError", "staleness.py, line"),
    ),
    "one-number-for-all": Mistake(
        "hw_staleness",
        {"(1 / max(1.0, mean),) * len(staleness)": "1 / max(1.0, mean)"},
        35,
        ("should return a tuple of numbers, not 1.0",),
    ),
    "the-first-layers-first": Mistake(
        "hw_overlap",
        {"reversed(sizes.items())": "sizes.items()"},
        65,
        ("sizes = [0, 1], least = 1", "b is in a later bucket than a", "the last parameters first"),
    ),
    "only-what-fits": Mistake(
        "hw_overlap",
        {"if held >= least": "if not found or held + size > least"},
        75,
        ("bucket 0 is not the last one and holds only", "even if the next one is large"),
    ),
    "full-but-open": Mistake(
        "hw_overlap",
        {"if held >= least": "if not found or held > least"},
        75,
        ("sizes = [0, 1], least = 1", "bucket 0 holds 1 and is full without a", "be it exactly"),
    ),
    "the-next-bucket-begun-too-early": Mistake(
        "hw_overlap",
        {
            "list[list[str]] = []": "list[list[str]] = [[]]",
            "held = least": "held = 0",
            "        if held >= least:\n            found.append([])\n            held = 0\n": "",
            "held += size": "held += size\n        if held >= least:\n"
            "            found.append([])\n            held = 0",
        },
        90,
        ("smallest case found: sizes = [], least = 1", "one of them is empty"),
    ),
    "nothing-to-send-of-it": Mistake(
        "hw_overlap",
        {
            "        if held >= least": "        if size == 0:\n            continue\n"
            "        if held >= least"
        },
        90,
        ("sizes = [0], least = 1", "a is in 0 buckets", "a parameter without numbers is one too"),
    ),
    "no-buckets": Mistake(
        "hw_overlap",
        {"return found": "return []"},
        55,
        ("sizes = [1], least = 1", "the buckets are []", "there should be one at least"),
    ),
    "launched-with-the-first-gradient": Mistake(
        "hw_overlap",
        EARLY,
        80,
        ("held = [2]", "bucket 0 is launched, but e is not complete", "still to be added"),
    ),
    "remembered-from-pass-to-pass": Mistake(
        "hw_overlap",
        {
            "    def __init__": "    done = set()\n\n    def __init__",
            "names.discard(name)": "self.done.add(name)",
            "not self.missing[self.next]": "self.missing[self.next] <= self.done",
        },
        80,
        ("held = [2]", "but e is not complete", "Each pass begins anew"),
    ),
    "each-when-it-is-filled": Mistake(
        "hw_overlap",
        {
            "names.discard(name)": "names.discard(name)\n"
            "        ready = [n for n, names in enumerate(self.missing) if not names]\n"
            "        for n in ready:\n            self.missing[n] = {'launched'}\n"
            "        return ready"
        },
        80,
        ("held = [1, 1]", "rank 1 launches [1, 0]", "in the order e, f", "waits for those before"),
    ),
    "one-at-a-time": Mistake(
        "hw_overlap",
        {"while self.next": "if self.next"},
        45,
        ("bucket 1 is not launched, though", "one call may launch several"),
    ),
    "said-again": Mistake(
        "hw_overlap",
        {"range(first, self.next)": "range(self.next)"},
        60,
        ("held = [1, 1]", "bucket 0 is launched once more", "not again"),
    ),
    "never-launched": Mistake(
        "hw_overlap",
        {"return range(first, self.next)": "return ()"},
        45,
        ("held = [1]", "bucket 0 has never been launched", "each has its turn"),
    ),
}
