"""What more workers than there are here would do, from what one costs: on paper."""
from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, replace

MORE = 16  # times as many blocks are as good as no end of them


@dataclass(frozen=True)
class Costs:
    """seconds: of a block on a worker. sent, received: bytes of a block, to the worker and from it. held: bytes that
    every worker is sent once in each pass. taken: seconds in which the driver adds a result to what it has. told:
    seconds until a worker begins with the first block of a pass; later ones wait there before it is done with the one
    before. bandwidth: of the driver, in bytes a second. scatter: the standard deviation of how fast workers are, beside
    their mean."""

    seconds: float
    sent: float
    received: float
    held: float
    taken: float
    told: float
    bandwidth: float = 1.25e9  # 10 Gbit/s
    scatter: float = 0.05

    def bytes_of(self, blocks: int, workers: int) -> float:
        """What the driver sends and gets in one pass."""
        return blocks * (self.sent + self.received) + workers * self.held


def pass_seconds(costs: Costs, blocks: int, workers: int, seed: int = 0) -> float:
    """How long one pass takes, from its first block to the last result, before which nothing else can begin: results
    come to one driver, one after the other."""
    generator = random.Random(seed)
    speeds = [max(0.2, generator.gauss(1.0, costs.scatter)) for _ in range(workers)]
    average = sum(speeds) / workers  # so that more workers are not faster ones
    link = workers * costs.held / costs.bandwidth  # the driver's, until when it is busy
    free = [(link + costs.told, worker) for worker in range(workers)]
    heapq.heapify(free)
    ends = []
    for _ in range(blocks):
        begins, worker = heapq.heappop(free)
        ended = begins + costs.sent / costs.bandwidth + costs.seconds * average / speeds[worker]
        ends.append(ended)
        heapq.heappush(free, (ended, worker))  # the next block waits there already
    for ended in sorted(ends):
        link = max(link, ended) + costs.received / costs.bandwidth + costs.taken
    return link


def efficiency(costs: Costs, blocks: int, workers: int) -> float:
    """The time of one worker over that of all together, each with its share of the work."""
    return pass_seconds(costs, blocks, 1) / (workers * pass_seconds(costs, blocks, workers))


def what_breaks_first(costs: Costs, blocks: int, workers: int) -> str:
    """The cost without which the pass would be shortest, in words."""
    without = {"workers of unequal speed": replace(costs, scatter=0.0),
               "the driver's network": replace(costs, bandwidth=1e15),
               "the driver's sums": replace(costs, taken=0.0),
               "the beginning of a pass": replace(costs, told=0.0)}
    times = {name: pass_seconds(changed, blocks, workers) for name, changed in without.items()}
    # Blocks are whole: with as few of them for each worker the last ones leave most workers idle.
    times["too few blocks"] = pass_seconds(costs, MORE * blocks, workers) / MORE
    return min(times, key=lambda name: times[name])
