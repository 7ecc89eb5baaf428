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
        15,
        ("smallest case found: M = 2, C = 1, seed = 0", "over its M rows"),
    ),
    "unbiased-variance": Mistake(
        "hw_batch_norm",
        {"(off * off).mean(axis=0)": "x.var(axis=0, ddof=1)"},
        60,
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
        70,
        ("M = 2, C = 1, seed = 0", "every column of dx has to sum to 0"),
    ),
    "no-way-through-the-variance": Mistake(
        "hw_batch_norm",
        {" - normal * (dy * normal).mean(axis=0)": ""},
        75,
        ("M = 2, C = 1, seed = 0", "the way through the variance"),
    ),
    "kept-in-a-global": Mistake(
        "hw_batch_norm",
        {
            "return gamma * normal + beta, (": "global KEPT; KEPT = (normal, inv_std, gamma)\n"
            "    return gamma * normal + beta, (",
            "gamma = saved": "gamma = KEPT",
        },
        80,
        ("under way at once", "not in a global"),
    ),
    "changed-in-place": Mistake(
        "hw_batch_norm",
        {"off = x - x.mean(axis=0)": "x -= x.mean(axis=0); off = x"},
        80,
        ("x, which is not to be changed, was",),
    ),
    "gates-in-another-order": Mistake(
        "hw_lstm",
        {"zi, zf, zg, zo = ": "zi, zf, zo, zg = "},
        45,
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
        65,
        ("given", "  c = [[", "c' does so by two ways"),
    ),
    "tanh-without-its-slope": Mistake(
        "hw_lstm",
        {"dg * (1 - g**2)": "dg"},
        65,
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
        ("the size of layer", "round down"),
    ),
    "real-and-fake-swapped": Mistake(
        "hw_gan",
        {"logaddexp(0, -z), sigmoid(z) - 1": "logaddexp(0, z), sigmoid(z)"},
        50,
        (
            "smallest case found: name = real, shape = (1, 1), seed = 0",
            "this is what fake should give",
        ),
    ),
    "derivative-by-d": Mistake(
        "hw_gan",
        {"np.logaddexp(0, -z), sigmoid(z) - 1": "np.logaddexp(0, -z), -1 / sigmoid(z)"},
        60,
        ("name = real, shape = (1, 1), seed = 0", "this is the derivative by D"),
    ),
    "log-of-infinity": Mistake(
        "hw_gan",
        {"np.logaddexp(0, -z)": "np.log(1 + np.exp(-z))"},
        90,
        ("name = real, far = -10000.0", "np.logaddexp goes round that"),
    ),
    "the-generator-climbs": Mistake(
        "hw_gan",
        {"return -losses, -dz": "return losses, dz"},
        85,
        ("the loss of minimax", "falls as D takes samples for data"),
    ),
    "mean-instead-of-each": Mistake(
        "hw_gan",
        {"return np.logaddexp(0, z), sigmoid": "return np.logaddexp(0, z).mean(), sigmoid"},
        70,
        ("the loss of fake should have the shape (1, 1), not ()",),
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
        20,
        ("size = 1, steps = 2, seed = 0", "values -= ..., not values = values - ..."),
    ),
    "a-new-array-of-velocities": Mistake(
        "hw_momentum",
        {"v *= self.momentum": "v = v * self.momentum"},
        55,
        ("momentum = 0.5, nesterov = False, size = 1, steps = 2", "after step 2 w"),
    ),
    "dampened": Mistake(
        "hw_momentum",
        {"v += grads": "v += (1 - self.momentum) * grads"},
        55,
        ("steps = 2, seed = 0", "the gradient is added whole"),
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
        75,
        ("nesterov = True, size = 1, steps = 2, seed = 0", "after step 1 w"),
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
        45.7,
        ("rows = 1, columns = 2", "in the end rank 0 holds of chunk 1 no contribution of rank 1"),
    ),
    "send-then-receive": Mistake(
        "hw_torus",
        {"append((*sends, *receives))": "extend([tuple(sends), tuple(receives)])"},
        15,
        (
            "rows = 1, columns = 2",
            "deadlock: rank 0 waits for rank 1",
            "Its Sends and its Receives belong into",
        ),
    ),
    "chunks-taken-in-another-order": Mistake(
        "hw_torus",
        {"parts[(first - s - 1) % n]]": "parts[(first - s - 1) % n][::-1]]"},
        25,
        ("rows = 2, columns = 2", "is what the rank before it sends in it, in the same order"),
    ),
    "rows-as-long-as-columns": Mistake(
        "hw_torus",
        {"divmod(rank, columns)": "divmod(rank, rows)"},
        20.9,
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
        85,
        ("rows = 2, columns = 2", "sends 8 of 4 chunks; 2(P - 1) = 6 are enough"),
    ),
    "late-gradients-used": Mistake(
        "hw_server",
        {"if version < state.version": "if version < 0"},
        90,
        ("smallest case found: k = 1, spare = 1", "drop is ()", "not the newest any more"),
    ),
    "stopped-though-done": Mistake(
        "hw_server",
        {"cancel=others": "cancel=everyone"},
        70,
        ("k = 1, spare = 0, order = [0]", "cancel is (0,)", "all who are at work"),
    ),
    "waits-for-the-batch": Mistake(
        "hw_server",
        {"plans.Decision(state.version, release=(learner,))": "plans.Decision(state.version)"},
        70,
        ("k = 2, spare = 0, order = [0]", "learner 0 pushes its gradient 0", "release is ()"),
    ),
    "everyone-goes-on": Mistake(
        "hw_server",
        {"release=tuple(sorted(idle))": "release=tuple(range(state.learners))"},
        85,
        ("k = 1, spare = 1, order = [0]", "release is (0, 1)", "should be (0,)"),
    ),
    "stale-gradients-lost": Mistake(
        "hw_server",
        {
            "waiting = (*state.waiting, plans.Push(": "if version < state.version:\n"
            "            return state, plans.Decision(state.version)\n"
            "        waiting = (*state.waiting, plans.Push("
        },
        67,
        ("k = 1, spare = 1", "waiting 0 times", "each gradient that is pushed ends in one place"),
    ),
    "applied-and-kept": Mistake(
        "hw_server",
        {"plans.State(state.learners, new)": "plans.State(state.learners, new, waiting)"},
        49,
        ("k = 1, spare = 0, order = [0, 0]", "waiting 2 times", "nothing is kept of them"),
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
        70,
        ("smallest case found: staleness = [1]", "divided by 1, not by 2"),
    ),
    "fresh-gradients-lost": Mistake(
        "hw_staleness",
        {"1 / max(1, missed)": "1 / missed if missed else 0.0"},
        85,
        ("late = []", "a gradient that is not late is left as it is"),
    ),
    "by-the-root": Mistake(
        "hw_staleness",
        {"1 / max(1, missed)": "max(1, missed) ** -0.5"},
        60,
        (
            "the whole of τ divides, not its root",
            "missed = 3, beyond = 1.9",
            "Do your weights fall as fast?",
        ),
    ),
    "mean-of-the-inverses": Mistake(
        "hw_staleness",
        {
            "sum(staleness) / len(staleness)": "len(staleness) / sum("
            "1 / max(1, missed) for missed in staleness)"
        },
        70,
        ("staleness = [0, 2]", "one over the mean of what was missed"),
    ),
    "by-none": Mistake(
        "hw_staleness",
        {"1 / max(1.0, mean)": "1 / mean"},
        75,
        ("late = 0, fresh = 1", "ZeroDivisionError"),
    ),
    "one-number-for-all": Mistake(
        "hw_staleness",
        {"(1 / max(1.0, mean),) * len(staleness)": "1 / max(1.0, mean)"},
        50,
        ("should return a tuple of numbers, not 1.0",),
    ),
    "the-first-layers-first": Mistake(
        "hw_overlap",
        {"reversed(sizes.items())": "sizes.items()"},
        70,
        ("sizes = [1, 0]", "b is in a later bucket than d", "the last parameters first"),
    ),
    "only-what-fits": Mistake(
        "hw_overlap",
        {"if held >= least": "if not found or held + size > least"},
        80,
        ("bucket 0 holds 1 and is full without d",),
    ),
    "full-but-open": Mistake(
        "hw_overlap",
        {"if held >= least": "if not found or held > least"},
        80,
        ("sizes = [0, 1]", "bucket 0 holds 1 and is full without d", "be it exactly"),
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
        ("given sizes = {}, least = 1", "one of them is empty"),
    ),
    "nothing-to-send-of-it": Mistake(
        "hw_overlap",
        {
            "        if held >= least": "        if size == 0:\n            continue\n"
            "        if held >= least"
        },
        90,
        ("sizes = [0]", "d is in 0 buckets", "a parameter without numbers is one too"),
    ),
    "no-buckets": Mistake(
        "hw_overlap",
        {"return found": "return []"},
        55,
        ("sizes = {'d': 1}, least = 1", "the buckets are []", "there should be one at least"),
    ),
    "launched-with-the-first-gradient": Mistake(
        "hw_overlap",
        EARLY,
        75,
        ("held = [2]", "bucket 0 is launched, but d is not complete", "still to be added"),
    ),
    "remembered-from-pass-to-pass": Mistake(
        "hw_overlap",
        {
            "    def __init__": "    done = set()\n\n    def __init__",
            "names.discard(name)": "self.done.add(name)",
            "not self.missing[self.next]": "self.missing[self.next] <= self.done",
        },
        75,
        ("Each pass begins anew"),
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
        ("held = [1, 1]", "rank 1 launches [1, 0]", "in the order d, b", "waits for those before"),
    ),
    "one-at-a-time": Mistake(
        "hw_overlap",
        {"while self.next": "if self.next"},
        70,
        ("bucket 1 is not launched, though", "one call may launch several"),
    ),
    "said-again": Mistake(
        "hw_overlap",
        {"range(first, self.next)": "range(self.next)"},
        75,
        ("held = [1, 1]", "bucket 0 is launched once more", "not again"),
    ),
    "never-launched": Mistake(
        "hw_overlap",
        {"return range(first, self.next)": "return ()"},
        55,
        ("held = [1]", "bucket 0 has never been launched", "each has its turn"),
    ),
    "eps-of-its-own": Mistake(
        "hw_batch_norm",
        {"(off * off).mean(axis=0) + eps": "(off * off).mean(axis=0) + 1e-3"},
        75,
        ("an eps of your own, 1e-3",),
    ),
    "eps-outside-of-the-root": Mistake(
        "hw_batch_norm",
        {
            "1 / np.sqrt((off * off).mean(axis=0) + eps)": "1 / (eps + np.sqrt("
            "(off * off).mean(axis=0)))"
        },
        75,
        ("belongs under it",),
    ),
    "float64-whatever-comes": Mistake(
        "hw_batch_norm",
        {"off = x - x.mean(axis=0)": "off = x.astype(np.float64) - x.mean(axis=0)"},
        85,
        ("y is of float64, though", "are of float32"),
    ),
    "no-gamma-on-the-way-back": Mistake(
        "hw_batch_norm",
        {"dx = gamma * inv_std": "dx = inv_std"},
        75,
        ("gamma is missing",),
    ),
    "lstm-in-a-global": Mistake(
        "hw_lstm",
        {
            "return np.stack(y, axis=1), saved": "globals()['KEPT'] = saved\n"
            "    return np.stack(y, axis=1), None",
            "    dh = dc = np.zeros_like(dy[:, 0])": "    saved = KEPT\n"
            "    dh = dc = np.zeros_like(dy[:, 0])",
        },
        85,
        ("under way at once", "not in a global"),
    ),
    "lstm-in-float64": Mistake(
        "hw_lstm",
        {"np.zeros((len(x), len(u)), x.dtype)": "np.zeros((len(x), len(u)))"},
        90,
        ("y is of float64, though",),
    ),
    "lstm-changes-its-memory": Mistake(
        "hw_lstm",
        {"c_next = f * c + i * g": "c *= f\n    c += i * g\n    c_next = c"},
        40,
        (
            "which is not to be changed",
            "your code changes c, which it is not to: make that right first",
        ),
    ),
    "lstm-changes-dc": Mistake(
        "hw_lstm",
        {"dc_next = dc_next + dh_next": "dc_next += dh_next"},
        90,
        ("dc_next, which is not to be changed, was",),
    ),
    "gan-in-float32": Mistake(
        "hw_gan",
        {"return (1 + np.tanh(z / 2)) / 2": "return ((1 + np.tanh(z / 2)) / 2).astype('f4')"},
        90,
        ("dz is of float32, though",),
    ),
    "gan-changes-z": Mistake(
        "hw_gan",
        {"    return (1 + np.tanh(z / 2)) / 2": "    z /= 2\n    return (1 + np.tanh(z)) / 2"},
        90,
        ("z, which is not to be changed, was",),
    ),
    "a-schedule-that-counts-its-calls": Mistake(
        "hw_gan",
        {
            '    return ["discriminator", "generator"] if (step': "    CALLS.append(step)\n"
            '    step = len(CALLS) - 1\n    return ["discriminator", "generator"] if (step',
            "Found = tuple": "CALLS = []\nFound = tuple",
        },
        85,
        ("must not count or remember its calls",),
    ),
    "velocity-in-a-global": Mistake(
        "hw_momentum",
        {
            'v = slots["velocity"]': "v = KEPT.setdefault((len(values), step > 0), np.zeros_like("
            "values)) if step else np.zeros_like(values)\n        KEPT[len(values), True] = v",
            "@dataclass(frozen=True)": "KEPT = {}\n\n\n@dataclass(frozen=True)",
        },
        85,
        ("under way at once",),
    ),
    "weights-in-float32": Mistake(
        "hw_momentum",
        {"values -= self.lr * (grads +": "values -= np.float32(self.lr) * np.float32(grads +"},
        90,
        ("right in its first seven digits only",),
    ),
    "upwards": Mistake(
        "hw_momentum",
        {"values -= self.lr * (grads": "values += self.lr * (grads"},
        55,
        ("the weights go against the gradient",),
    ),
    "names-by-the-alphabet": Mistake(
        "hw_overlap",
        {"reversed(sizes.items())": "sorted(sizes.items(), reverse=True)"},
        55,
        ("names have no order of their own",),
    ),
    "sizes-used-up": Mistake(
        "hw_overlap",
        {"in reversed(sizes.items()):": "in [sizes.popitem() for _ in range(len(sizes))]:"},
        90,
        ("sizes, which is not to be changed, was",),
    ),
    "half-an-even-kernel": Mistake(
        "hw_receptive_field",
        {"(span / 2 - padding)": "(span // 2 - padding)"},
        60,
        ("centre",),
    ),
    "windows-used-up": Mistake(
        "hw_receptive_field",
        {"in windows:": "in [windows.pop(0) for _ in range(len(windows))]:"},
        85,
        ("windows, which is not to be changed, was",),
    ),
    "kernel-for-span": Mistake(
        "hw_receptive_field",
        {"field += span * jump": "field += (span + 1) * jump"},
        60,
        ("are k - 1 gaps, not k",),
    ),
    "late-pushes-released": Mistake(
        "hw_server",
        {"drop=(push,))": "release=(learner,), drop=(push,))"},
        90,
        ("comes too late and is only dropped",),
    ),
    "by-the-rate": Mistake(
        "hw_staleness",
        {"tuple(1 / max(1, missed) for": "tuple(1 / max(1, missed * self.lr * 10) for"},
        50,
        ("depends on the staleness alone",),
    ),
    "by-the-sum": Mistake(
        "hw_staleness",
        {"sum(staleness) / len(staleness)": "sum(staleness)"},
        60,
        ("the mean, not the sum",),
    ),
    "a-flat-ring": Mistake(
        "hw_torus",
        {
            "    parts = [list(range(part * rows, (part + 1) * rows)) for part in range(columns)]\n": ""  # noqa: E501
            "    ring = [*range(rows * columns)]\n"
            "    single = [[n] for n in ring]\n"
            "    return [\n        around(ring, r, single, reduce=True) + around(ring, r, single, "
            "reduce=False)\n        for r in ring\n    ]\n",
        },
        15,
        ("receives only from", "not tried: first make this right"),
    ),
    "rows-turned-round": Mistake(
        "hw_torus",
        {
            "own_row = [row * columns + y for": "own_row = [row * columns + -y % columns for",
            "in parts[column]]": "in parts[-column % columns]]",
            "around(own_row, column, parts": "around(own_row, -column % columns, parts",
        },
        92.5,
        ("turn the other way round",),
    ),
    "gates-in-another-order-both-ways": Mistake(
        "hw_lstm",
        {
            "zi, zf, zg, zo = ": "zi, zf, zo, zg = ",
            "df * f * (1 - f), dg * (1 - g**2), do * o * (1 - o))": "df * f * (1 - f), "
            "do * o * (1 - o), dg * (1 - g**2))",
        },
        75,
        ("you read them as i, f, o, g",),
    ),
    "gamma-divided-out": Mistake(  # dgamma 15, dx 20 and one row 5: all where gamma is 0
        "hw_batch_norm",
        {
            "(normal, inv_std, gamma)\n": "(gamma * normal + beta, inv_std, gamma, beta)\n",
            "normal, inv_std, gamma = saved": "y, inv_std, gamma, beta = saved\n"
            "    normal = (y - beta) / gamma",
        },
        60,
        ("gamma = [0.0]", "nan comes of a division by 0"),
    ),
    "one-row-has-no-gradients": Mistake(
        "hw_batch_norm",
        {"dbeta, dgamma = dy.sum(axis=0)": "dbeta, dgamma = dy.sum(axis=0) * (len(dy) > 1)"},
        95,
        ("dbeta is", "y is beta: what of dy reaches it?"),
    ),
    "equal-rows-have-no-root": Mistake(
        "hw_batch_norm",
        {
            "1 / np.sqrt((off * off).mean(axis=0) + eps)": "np.where((off * off).mean(axis=0) > 0, "
            "1 / np.sqrt((off * off).mean(axis=0) + eps), 0)"
        },
        80,
        ("only with one row is y the same whatever x is",),
    ),
    "squares-on-the-way-back": Mistake(
        "hw_batch_norm",
        {
            "(normal, inv_std, gamma)\n": "(x, eps, gamma)\n",
            "normal, inv_std, gamma = saved": "x, eps, gamma = saved\n    inv_std = 1 / np.sqrt("
            "np.abs((x * x).mean(axis=0) - x.mean(axis=0) ** 2) + eps)\n"
            "    normal = (x - x.mean(axis=0)) * inv_std",
        },
        90,
        ("dx, which is another one without the mean,", "1.3955"),
    ),
    "float32-on-the-way": Mistake(
        "hw_batch_norm",
        {"normal = off * inv_std": "normal = np.float32(off) * np.float32(inv_std)"},
        85,
        ("right in its first seven digits only",),
    ),
    "lstm-changes-dy": Mistake(
        "hw_lstm",
        {"step_back(dy[:, t] + dh,": "step_back(np.add(dy[:, t], dh, out=dy[:, t]),"},
        90,
        ("dy, which is not to be changed, was",),
    ),
    "no-bias": Mistake(  # the step 20, db 10, two layers 5; the rest follows from the step
        "hw_lstm",
        {"h @ u + b": "h @ u"},
        65,
        ("b is missing in z",),
    ),
    "z-turned-and-turned-back": Mistake(
        "hw_gan",
        {
            "return np.logaddexp(0, -z), sigmoid(z) - 1": "z *= -1\n"
            "    return np.logaddexp(0, z), -sigmoid(z)"
        },
        90,
        ("z, which is not to be changed, was",),
    ),
    "one-buffer-for-all": Mistake(
        "hw_gan",
        {
            "return (1 + np.tanh(z / 2)) / 2": "d = KEPT.setdefault((z.shape, z.dtype), "
            "np.empty_like(z))\n    d[...] = (1 + np.tanh(z / 2)) / 2\n    return d",
            "Found = tuple": "KEPT = {}\nFound = tuple",
        },
        90,
        ("what you have returned is not yours to write to any more",),
    ),
    "first-column-only": Mistake(  # two losses, 15 and 5
        "hw_gan",
        {
            "return np.logaddexp(0, z), sigmoid": "first = z[..., :1] + 0 * z\n"
            "    return np.logaddexp(0, first), sigmoid"
        },
        80,
        ("shape = (2, 3)",),
    ),
    "tables-only": Mistake(
        "hw_gan",
        {
            "return np.logaddexp(0, z), sigmoid": "rows = len(z), -1\n"
            "    return np.logaddexp(0, z.reshape(rows)), sigmoid"
        },
        90,
        ("shape = (2,)", "should have the shape (2,), not (2, 1)"),
    ),
    "one-name-without-a-comma": Mistake(  # slots 10, at work 5
        "hw_momentum",
        {'("velocity",) if self.momentum else ()': '("velocity") if self.momentum else ()'},
        85,
        ("slots should be a tuple of names",),
    ),
    "nesterov-without-momentum": Mistake(
        "hw_momentum",
        {
            "            values -= self.lr * grads\n": "            values -= "
            "self.lr * grads * (1 + self.nesterov)\n"
        },
        90,
        ("with `nesterov` and without",),
    ),
    "velocity-by-its-place": Mistake(
        "hw_momentum",
        {
            'v = slots["velocity"]': "key = (id(values.base), values.ctypes.data, len(values))\n"
            "        if step == 0 or key not in KEPT:\n"
            "            KEPT[key] = np.zeros_like(values)\n        v = KEPT[key]",
            "@dataclass(frozen=True)": "KEPT = {}\n\n\n@dataclass(frozen=True)",
        },
        90,
        ("and updated in parts", "no memory outside of slots"),
    ),
    "no-layers": Mistake(
        "hw_receptive_field",
        {"return views": "return views or [View(size, 1, 0.0, 1)]"},
        80,
        ("windows = []", "should return a list of 0 Views, not of 1"),
    ),
    "names-run-together": Mistake(
        "hw_overlap",
        {
            "set(names) for": "set(''.join(names)) for",
            "names.discard(name)": "names.difference_update(name)",
        },
        80,
        ("is launched, but", "is not complete"),
    ),
    "a-fraction-cut-off": Mistake(
        "hw_overlap",
        {"held = least\n": "least = max(1, least // 1)\n    held = least\n"},
        80,
        ("`least` may be a fraction",),
    ),
    "at-most-ten-names": Mistake(
        "hw_overlap",
        {"if held >= least:": "if held >= least or len(found[-1]) == 10:"},
        95,
        ("40 parameters of one number", "however many names it has"),
    ),
    "buckets-kept-by-their-names": Mistake(
        "hw_overlap",
        {
            "    found: list[list[str]] = []": "    if (*sizes,) in KEPT:\n"
            "        return KEPT[*sizes,]\n    found = KEPT[*sizes,] = []",
            "class Launches": "KEPT = {}\n\n\nclass Launches",
        },
        70,
        ("whose names are new", "keep nothing from call to call"),
    ),
    "an-empty-bucket-forgotten": Mistake(
        "hw_overlap",
        {"for names in buckets]": "for names in buckets if names]"},
        90,
        ("a bucket without parameters is filled from the beginning",),
    ),
    "the-buckets-used-up": Mistake(
        "hw_overlap",
        {
            "[set(names) for names in buckets]": "buckets",
            "names.discard(name)": "names[:] = [each for each in names if each != name]",
        },
        80,
        ("buckets, which is not to be changed, was",),
    ),
    "number-forgotten": Mistake(
        "hw_server",
        {"push = plans.Push(learner, version, number)": "push = plans.Push(learner, version)"},
        77,
        ("a learner may have pushed several",),
    ),
    "no-more-than-learners": Mistake(
        "hw_server",
        {
            "< self.k:\n            kept = plans.State(state.learners, state.version, waiting)": ""
            "< min(self.k, state.learners):\n"
            "            kept = plans.State(state.learners, state.version, waiting)"
        },
        88,
        ("K is 2: only with as many gradients there is an update",),
    ),
    "eight-learners": Mistake(
        "hw_server",
        {"range(state.learners)": "range(min(8, state.learners))"},
        85,
        ("spare = 8", "all who are at work at that moment"),
    ),
    "one-update-too-many": Mistake(
        "hw_server",
        {"        return self.k\n": "        return 1\n"},
        95,
        ("is the method `gradients` as it was?",),
    ),
    "only-small-staleness": Mistake(
        "hw_staleness",
        {"1 / max(1, missed) for": "1 / max(1, min(missed, 64)) for"},
        75,
        ("staleness = [100]",),
    ),
    "rounded": Mistake(
        "hw_staleness",
        {"1 / max(1, missed) for": "round(1 / max(1, missed), 4) for"},
        70,
        ("only the first digits are right",),
    ),
    "another-rule-of-descent": Mistake(
        "hw_staleness",
        {
            "class ByMean(optim.SGD):\n": "class ByMean(optim.SGD):\n"
            "    def step(self, values, grads, slots, step):\n        values -= grads\n\n"
        },
        95,
        ("something else of the class differs",),
    ),
    "columns-first": Mistake(
        "hw_torus",
        {
            "part * rows, (part + 1) * rows)": "part * columns, (part + 1) * columns)",
            "for part in range(columns)": "for part in range(rows)",
            "in parts[column]": "in parts[row]",
            "around(own_row, column, parts": "around(own_column, row, parts",
            "around(own_column, row, chunks": "around(own_row, column, chunks",
        },
        90,
        ("Here the columns go first",),
    ),
    "modulo-forgotten": Mistake(
        "hw_ring",
        {"(rank + 1) % size, (rank - 1) % size": "rank + 1, rank - 1"},
        90,
        ("receives from rank -1 in step 0", "are to be taken modulo 2"),
    ),
    "one-phase-turned-round": Mistake(
        "hw_ring",
        {
            "Receive(before, (rank - s) % size)": "Receive(after, (rank + 2 + s) % size)",
            "Send(after, (rank + 1 - s) % size)": "Send(before, (rank + 1 + s) % size)",
        },
        92,
        ("smallest failing world size: 3", "the second phase turns the other way round"),
    ),
    "one-list-for-all": Mistake(
        "hw_ring",
        {"    return programs\n": "    return [programs[0]] * size\n"},
        0,
        ("ranks 0 and 1 have the same program", "is one and the same list"),
    ),
    "the-same-chunk-everywhere": Mistake(
        "hw_ring",
        {
            "(rank - s - 1) % size, reduce": "s, reduce",
            "Send(after, (rank - s) % size), add": "Send(after, s), add",
        },
        30,
        ("both sends chunk 0 and receives into it",),
    ),
    "one-state-for-all-ranks": Mistake(
        "hw_overlap",
        {"self.missing = [set": "Launches.missing = [set"},
        85,
        ("beside another rank", "keep it in self"),
    ),
    "one-list-for-all-calls": Mistake(
        "hw_overlap",
        {
            "    found: list[list[str]] = []": "    found = KEPT\n    KEPT.clear()",
            "class Launches": "KEPT = []\n\n\nclass Launches",
        },
        90,
        ("once other sizes have been asked for", "keep nothing from call to call"),
    ),
    "eps-in-a-global": Mistake(
        "hw_batch_norm",
        {
            "    off = x - x.mean": "    globals()['EPS'] = eps\n    off = x - x.mean",
            "(normal, inv_std, gamma)\n": "(off, gamma)\n",
            "normal, inv_std, gamma = saved": "off, gamma = saved\n"
            "    inv_std = 1 / np.sqrt((off * off).mean(axis=0) + EPS)\n"
            "    normal = off * inv_std",
        },
        85,
        ("under way at once", "not in a global"),
    ),
    "steps-in-a-global": Mistake(
        "hw_lstm",
        {
            "    y, saved = [], []": "    globals()['T'] = x.shape[1]\n    y, saved = [], []",
            "range(len(saved))": "range(T)",
        },
        90,
        ("under way at once", "not in a global"),
    ),
    "a-rate-on-the-class": Mistake(
        "hw_momentum",
        {
            "self.lr": "self.rate",
            "    @property\n": "    def __post_init__(self):\n        Momentum.rate = self.lr\n\n"
            "    @property\n",
        },
        90,
        ("under way at once",),
    ),
    "one-k-for-all": Mistake(
        "hw_server",
        {
            "self.k": "self.K",
            "    k: int\n": "    k: int\n\n    def __post_init__(self):\n"
            "        type(self).K = self.k\n",
        },
        95,
        ("beside another rule", "belongs to its own object"),
    ),
    "learners-on-the-class": Mistake(
        "hw_server",
        {
            "return plans.State(learners)": "type(self).P = learners\n"
            "        return plans.State(learners)",
            "range(state.learners)": "range(self.P)",
        },
        95,
        ("beside another rule", "or to `state`"),
    ),
    "a-state-changed-in-place": Mistake(
        "hw_server",
        {
            "idle = state.idle | {learner}": "idle = state.idle | {learner}\n"
            "        object.__setattr__(state, 'idle', idle)"
        },
        50,
        ("push changes the state that it is given",),
    ),
    "the-callers-list-sorted": Mistake(
        "hw_staleness",
        {
            "mean = sum(staleness)": "if isinstance(staleness, list):\n"
            "            staleness.sort()\n        mean = sum(staleness)",
            "return tuple(1 / max": "getattr(distances, 'reverse', tuple)()\n"
            "        return tuple(1 / max",
        },
        50,
        (
            "staleness, which is not to be changed, was",
            "distances, which is not to be changed, was",
        ),
    ),
    "one-list-of-views": Mistake(
        "hw_receptive_field",
        {
            "    views = []": "    views = KEPT\n    KEPT.clear()",
            "def last_field": "KEPT = []\n\n\ndef last_field",
        },
        85,
        ("keep nothing from call to call",),
    ),
    "gan-losses-in-float32": Mistake(
        "hw_gan",
        {"return np.logaddexp(0, -z), sigmoid": "return np.logaddexp(0, -z).astype('f4'), sigmoid"},
        90,
        ("the loss is of float32, though",),
    ),
}
