"""The loop in which every demo network is trained: until a number of steps is done, or until a time of the clock."""
from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

EVERY_SECONDS = 90  # between two saves of a training that ends by the clock
MARGIN = 6  # seconds before the deadline, or a tenth of the time, that are left for the last save
RISING = 0.05  # the largest share of a training in which the learning rate rises


@dataclass(frozen=True)
class Budget:
    """How long a training lasts, and the learning rate that follows from it.

    Either `steps`, or `deadline`, a time of the clock in seconds since 1970. The rate rises over `warmup` steps, or a
    twentieth of the training if that is less, stays, and falls linearly to nothing over the last `falling` of it.
    `origin` is how many steps the networks have behind them when the optimiser is fresh; `steps` counts them, and the
    training is what comes after them.
    """

    steps: int | None = None
    deadline: float | None = None
    warmup: int = 200
    falling: float = 0.25
    origin: int = 0
    began: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.deadline is None):
            raise ValueError("A training ends either after steps or by a deadline: give one of them.")
        if self.steps is not None and self.steps <= self.origin:
            raise ValueError(f"The stored weights have {self.origin} steps behind them, which --steps counts: ask for "
                             f"more than the {self.steps}.")

    def share(self, step: int) -> float:
        """The share of the training that is over when `step` begins."""
        if self.steps is not None:
            return min((step - self.origin) / (self.steps - self.origin), 1.0)
        given = self.deadline - self.began
        return min((time.time() - self.began) / max(given - min(MARGIN, 0.1 * given), 1e-9), 1.0)

    def rate(self, step: int) -> float:
        """The share of the highest learning rate at `step`, in (0, 1]."""
        share = self.share(step)
        risen = max((step - self.origin + 1) / self.warmup, share / RISING)
        return max(min(1.0, risen, (1 - share) / self.falling), 1e-3)

    def is_falling(self, step: int) -> bool:
        return 1 - self.share(step) <= self.falling


def save_state(path: Path, **state) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


def begins_anew(path: Path, by_clock: bool) -> bool:
    """Whether a training that leaves its state at `path` has none there that it goes on with."""
    return by_clock or not path.exists()


def check_state(path: Path, by_clock: bool, **tied: str) -> None:
    """Raise SystemExit if a training cannot begin with what lies at `path`.

    One by steps goes on from the state of another one by steps that is tied to the same; what one by the clock leaves
    has no optimiser to go on with, and one by the clock would put that in the place of a state that has.
    """
    if not path.exists():
        return
    state = torch.load(path, weights_only=True, map_location="cpu", mmap=True)
    whole, advice = "optimiser" in state, "choose another --run folder, or remove it."
    if by_clock and whole:
        raise SystemExit(f"{path} is of a training by steps, and could not be gone on with any more after one that "
                         f"ends by the clock: {advice}")
    if not by_clock and not whole:
        raise SystemExit(f"{path} holds averaged weights alone, as a training by the clock and --from-weights leave "
                         f"them, and cannot be gone on with: {advice}")
    different = [name for name in tied if state.get(name) != tied[name]]
    if not by_clock and different:
        name = different[0]
        raise SystemExit(f"{path} is of a training with another {name} ({state.get(name)}) than that of now "
                         f"({tied[name]}): {advice}")


def fastest(candidates: dict[str, Callable[[], object]], repeats: int = 4) -> str:
    """The name of the function that takes least time, after one call that does not count; one that raises is out.

    Raises the first error if all do.
    """
    seconds, errors = {}, []
    for name, call in candidates.items():
        try:
            call()
            _wait()
            began = time.perf_counter()
            for _ in range(repeats):
                call()
            _wait()
        except Exception as error:  # of a compiler, or memory: the others may do
            # Without the frames, which would hold what the candidate had computed while the next one runs.
            errors.append(error.with_traceback(None))
            print(f"{name}: {type(error).__name__}, not used", flush=True)
            continue
        seconds[name] = (time.perf_counter() - began) / repeats
        print(f"{name}: {1000 * seconds[name]:.1f} ms", flush=True)
    if not seconds:
        raise errors[0]
    return min(seconds, key=seconds.get)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def optimise(model: torch.nn.Module, averaged: torch.nn.Module, peak: float, budget: Budget, state_path: Path,
             loss_at_step: Callable[[int, int], torch.Tensor], after_save: Callable[[int], None], *,
             save_every: int = 200, final_batches: int = 1, weight_decay: float = 0.01, decay_all: bool = True,
             **tied: str) -> None:
    """AdamW, gradient clipping, weight average, log lines, and a state on disk with what it is `tied` to.

    `loss_at_step(step, part)` is the loss of one batch; while the rate falls, each step takes `final_batches` of them.
    The average weighs a step by the eighth power of its number or so, so that its length grows with the training and
    need not be known before: it covers about the last tenth. A training by steps resumes from its state; one that ends
    by the clock keeps the average alone, which is quickly written, and begins anew. Unless `decay_all`, only matrices
    and kernels are decayed. Raises SystemExit as `check_state` does.
    """
    by_clock = budget.deadline is not None
    check_state(state_path, by_clock, **tied)
    groups = [{"params": list(model.parameters())}]
    if not decay_all:
        groups = [{"params": [parameter for parameter in model.parameters() if parameter.ndim > 1]},
                  {"params": [parameter for parameter in model.parameters() if parameter.ndim <= 1],
                   "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.98), weight_decay=weight_decay, fused=True)
    step = budget.origin
    if not begins_anew(state_path, by_clock):
        state = torch.load(state_path, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        averaged.load_state_dict(state["averaged"])
        step, budget = state["step"], replace(budget, origin=state["origin"])
        print(f"resumed at step {step}", flush=True)
        if budget.share(step) >= 1:
            after_save(step)  # which may have been interrupted
    first, running, began = step, None, time.monotonic()
    saved = shown = began
    # What ends by the clock takes at least one step, so that there is a result however late it was.
    while budget.share(step) < 1 or by_clock and step == first:
        for group in optimiser.param_groups:
            group["lr"] = peak * budget.rate(step)
        batches = final_batches if budget.is_falling(step) else 1
        optimiser.zero_grad(set_to_none=True)
        for part in range(batches):
            loss = loss_at_step(step, part) / batches
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        age = step - budget.origin + 1
        with torch.no_grad():
            torch._foreach_lerp_(list(averaged.parameters()), list(model.parameters()), 9 / (age + 9))
        # Stays on the device: asking for its value at every step would make the card wait.
        found = loss.detach() * batches
        running = found if running is None else running.lerp(found, 0.02)
        step += 1
        now, over = time.monotonic(), budget.share(step) >= 1
        if step % 20 == 0 and now - shown > (5 if by_clock else 0) or over:
            pace = (time.monotonic() - began) / (step - first)
            left = (budget.deadline - time.time() if by_clock else pace * (budget.steps - step))
            of = f"about {step + max(left, 0) / pace:.0f}" if by_clock else f"{budget.steps}"
            print(f"step {step}/{of} loss {running.item():.4f} {pace:.3f} s/step, {left / 60:.1f} min left", flush=True)
            shown = now
        if over or (now - saved > EVERY_SECONDS if by_clock else step % save_every == 0):
            whole = {} if by_clock else dict(model=model.state_dict(), optimiser=optimiser.state_dict())
            save_state(state_path, step=step, origin=budget.origin, averaged=averaged.state_dict(), **whole, **tied)
            after_save(step)
            saved = time.monotonic()
