"""Long runs that are stopped: by the user, and by a crash."""
import time

import graphs
import numpy as np
import pytest

import comfy_server

STOP_SECONDS = 5


@pytest.fixture(scope="module")
def uninterrupted(server, checkpoint):
    """The long run in one go. It keeps no state, so what the others resume is their own."""
    return graphs.run(server, graphs.long_mental_average(checkpoint, resume=False, prefix="uninterrupted"))


def assert_resumed(run, state_share, uninterrupted):
    """`run` went on from a state holding `state_share` of the alignment, and made the picture of one go."""
    # The alignment is nearly all of the work; the rest is the sampling afterwards.
    assert run.progress[0] >= 0.9 * state_share > 0
    assert uninterrupted.progress[0] < 0.05 < run.progress[0]
    assert np.array_equal(run.pixels(), uninterrupted.pixels())


def test_interrupted_run_stops_promptly_harms_nothing_and_resumes(server, base, checkpoint, uninterrupted):
    for leftover in graphs.saved_states(base):
        leftover.unlink()
    before = graphs.run(server, graphs.plain_picture(checkpoint))

    graph = graphs.long_mental_average(checkpoint, prefix="interrupted")
    prompt_id = server.queue(graph)
    state = graphs.wait_for_state(server, base, prompt_id)
    at_interrupt = graphs.meta_of(state)["step"]
    interrupted_at = time.monotonic()
    server.interrupt()
    with pytest.raises(comfy_server.PromptInterrupted) as interruption:
        graphs.finish(server, prompt_id)
    assert time.monotonic() - interrupted_at < STOP_SECONDS
    assert interruption.value.node_id == "sample"
    # However fast the machine: no further step was finished. What was matched until then is saved.
    assert graphs.meta_of(state)["step"] == at_interrupt
    share = graphs.share_done(state, graph)

    after = graphs.run(server, graphs.plain_picture(checkpoint))
    assert "checkpoint" in after.cached and "sample" not in after.cached  # sampled anew, on the same model
    assert np.array_equal(before.pixels(), after.pixels())

    resumed = graphs.run(server, graph)
    assert_resumed(resumed, share, uninterrupted)
    assert graphs.saved_states(base) == [state]


def test_run_of_a_killed_server_resumes_in_the_next_one(environment, make_base, checkpoint, uninterrupted):
    base, graph = make_base(), graphs.long_mental_average(checkpoint, prefix="killed")
    with comfy_server.start(environment, base) as server:
        state = graphs.wait_for_state(server, base, server.queue(graph))
        server.kill()
    share = graphs.share_done(state, graph)
    assert not list((base / "output").glob("killed*"))

    with comfy_server.start(environment, base) as server:
        assert_resumed(graphs.run(server, graph), share, uninterrupted)


def test_changed_input_starts_anew(server, base, checkpoint):
    graph = graphs.mental_average(checkpoint, seed=21, prefix="anew")
    graphs.run(server, graph)
    states = graphs.saved_states(base)
    graph["sample"]["inputs"]["seed"] = 22
    changed = graphs.run(server, graph)
    assert changed.progress[0] < 0.2
    assert len(graphs.saved_states(base)) == len(states) + 1
