"""Two workers on a Ray of their own, for all tests of this folder."""
import gc
import os
import warnings
from pathlib import Path

import pytest
from ray_toys import ray_variables, sources
from threads import threads

import pack

TESTS = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def one_thread():
    """As each worker has: MKL's products of matrices depend on how many threads share them."""
    with threads(1):
        yield


@pytest.fixture(scope="session")
def ray():
    """A Ray whose processes find what tests use, by the names that it has here, and take more work than there are
    cores."""
    if not pack.find_ray():
        pytest.skip("Ray is not installed: python tools/run_tests.py --ray installs it")
    os.environ.update(ray_variables())  # which are read when it is imported
    import ray

    places = (TESTS / "support", TESTS.parent / "tools", os.environ.get("PYTHONPATH"))
    ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False, runtime_env={
        "env_vars": {"PYTHONPATH": os.pathsep.join(str(place) for place in places if place)},
        "worker_process_setup_hook": "pack.load_pack"})
    yield ray
    with warnings.catch_warnings():
        # Ray does not wait for the processes that it ends.
        warnings.simplefilter("ignore", ResourceWarning)
        ray.shutdown()
        gc.collect()


@pytest.fixture(scope="session")
def workers(ray):
    from mental_averages.dma.distributed import RayWorkers

    with RayWorkers(sources, 2) as found:
        found.processes()  # which have all begun then
        yield found
