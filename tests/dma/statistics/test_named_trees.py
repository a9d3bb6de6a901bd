import pytest
import torch

from mental_averages.dma.statistics import MomentTree, PairedMoments, pack_trees, unpack_trees


def test_trees_of_both_kinds_come_back_and_go_on_to_the_last_bit():
    rows = torch.randn(70, 3, generator=torch.Generator().manual_seed(0))
    trees, whole = ({"features": MomentTree(), "latents": MomentTree(PairedMoments)} for _ in range(2))
    for name in trees:
        trees[name].update(rows[:37])
        whole[name].update(rows)
    again = unpack_trees(*pack_trees(trees))
    assert [type(tree.moments()) for tree in again.values()] == [type(tree.moments()) for tree in trees.values()]
    for name, tree in again.items():
        tree.update(rows[37:])
        found, expected = tree.moments().packed(), whole[name].moments().packed()
        assert found[1] == expected[1] and found[0].keys() == expected[0].keys()
        assert all(torch.equal(found[0][key], expected[0][key]) for key in found[0])


def test_what_is_missing_is_named():
    tensors, numbers = pack_trees({"features": MomentTree()})
    numbers["features"]["kind"] = "columns"
    with pytest.raises(KeyError, match="columns"):
        unpack_trees(tensors, numbers)
