"""What of a patch's dicts and lists is a setting, and what a state."""
import pytest


@pytest.fixture
def only_read(comfyui):
    from mental_averages.nodes.comfyui import _closures

    return lambda function: {name for name in function.__code__.co_freevars
                             if _closures.only_read(function.__code__, name)}


def looking(a, b, c, d, e):
    def patch(key, h):
        first = a.get(int(h.shape[1]), None)
        if key in b:
            return c[int(h.shape[0])], d[0][key], [value for value in e]
        return first, a["x" + str(key)]
    return patch


def writing(a, b, c, d, e, f, g):
    def patch(key, function):
        a[key] = 1
        b[key] += 1
        del c[key]
        d.update(key=1)
        function(e, key[0])
        alias = f
        alias[key] = 1

        def inside():
            g[key] = 2

        return inside
    return patch


def test_what_is_only_read(only_read):
    assert only_read(looking({}, {}, {}, {}, {})) == set("abcde")
    assert only_read(writing({}, {}, {}, {}, {}, {}, {})) == set()


def test_cores_free_u(only_read, unet):
    from comfy_extras.nodes_freelunch import FreeU, FreeU_V2

    for node in (FreeU, FreeU_V2):
        patch, = node.execute(unet, 1.1, 1.2, 0.9, 0.2).args[0].model_options["transformer_options"]["patches"][
            "output_block_patch"]
        assert only_read(patch) == {"scale_dict"}


def test_only_what_nothing_can_change_in_place_is_a_setting(comfyui):
    from mental_averages.nodes.comfyui._closures import settings_in

    assert settings_in({1: (1.5, ("a", None)), 2: [1], 3: {}, 4: (1, [2])}) == {1: (1.5, ("a", None))}
    assert settings_in([1.5, [2], "a"]) == [1.5, "a"]


def test_what_is_seen_to_be_written_into(comfyui):
    from mental_averages.nodes.comfyui._closures import written_into

    def found(function):
        return {name for name in function.__code__.co_freevars if written_into(function.__code__, name)}

    # Not what is handed on, nor what has a second name: there nothing is seen.
    assert found(writing({}, {}, {}, {}, {}, {}, {})) == set("abcdg")
    assert found(looking({}, {}, {}, {}, {})) == set()


def given(table, seen, order, other):
    seen[table["key"]] = other
    order.append([other, table])
    return {0: table}, order[0]


def test_arguments_that_are_written_into(comfyui):
    from mental_averages.nodes.comfyui._closures import written_into

    assert [written_into(given.__code__, name) for name in ("table", "seen", "order", "other")] == [
        False, True, True, False]
