import pytest
import torch
from hypothesis import given, settings, strategies as st

from mental_averages.dma.statistics import BLOCK, MomentTree, PairedMoments, RunningMoments

ROWS = 5 * BLOCK + 7
KINDS = pytest.mark.parametrize("kind", [RunningMoments, PairedMoments])


def rows_of(count: int) -> torch.Tensor:
    return 100 + torch.randn(count, 3, 2, generator=torch.Generator().manual_seed(count))


def tree_of(kind, rows, start=0, sizes=()):
    tree = MomentTree(kind, start)
    for part in rows[start:].split(list(sizes)) if sizes else [rows[start:]]:
        tree.update(part)
    return tree


def same(one, other) -> bool:
    (first, numbers), (second, others) = one.packed(), other.packed()
    return numbers == others and first.keys() == second.keys() and all(torch.equal(first[name], second[name])
                                                                       for name in first)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_parts_merged_in_any_way_are_the_same_to_the_last_bit(data):
    """Of blocks cut anywhere, seen in batches of any size, and merged from any side."""
    kind = data.draw(st.sampled_from([RunningMoments, PairedMoments]))
    count = data.draw(st.integers(1, 12 * BLOCK))
    rows, whole = rows_of(count), MomentTree(kind)
    whole.update(rows)
    edges = sorted({0, *data.draw(st.lists(st.integers(0, (count - 1) // BLOCK), max_size=5))})
    parts = []
    for first, last in zip(edges, [*edges[1:], None]):
        part = MomentTree(kind, first * BLOCK)
        stop = count if last is None else last * BLOCK
        for begin in range(first * BLOCK, stop, size := data.draw(st.integers(1, 40))):
            part.update(rows[begin : min(begin + size, stop)])
        parts.append(part)
    while len(parts) > 1:
        place = data.draw(st.integers(0, len(parts) - 2))
        parts[place].merge(parts.pop(place + 1))
    assert same(parts[0], whole) and same(parts[0].moments(), whole.moments())


@KINDS
def test_the_moments_are_those_of_the_rows(kind):
    rows = rows_of(ROWS)
    found, plain = tree_of(kind, rows).moments(), kind()
    plain.update(rows)
    assert found.count == ROWS
    torch.testing.assert_close(found.mean, rows.double().mean(0), rtol=1e-14, atol=0)
    torch.testing.assert_close(found.variance, plain.variance, rtol=1e-10, atol=0)
    assert found.standard_error == pytest.approx(plain.standard_error, rel=1e-10)


@KINDS
def test_a_part_keeps_few_nodes(kind):
    assert len(tree_of(kind, rows_of(63 * BLOCK)).nodes) == 6
    assert len(tree_of(kind, rows_of(64 * BLOCK)).nodes) == 1
    assert len(tree_of(kind, rows_of(64 * BLOCK), start=BLOCK).nodes) == 6


def test_another_order_of_summing_rounds_otherwise():
    """Without a fixed order moments do depend on where rows are cut, which is what the tree is for."""
    rows, parts = rows_of(64 * BLOCK), []
    for size in (16, 48, 80):
        moments = RunningMoments()
        for part in rows.split(size):
            moments.update(part)
        parts.append(moments.mean)
    assert not all(torch.equal(parts[0], each) for each in parts[1:])


@KINDS
def test_what_is_packed_is_gone_on_with(kind):
    rows = rows_of(ROWS)
    tree = MomentTree(kind)
    tree.update(rows[:37])
    again = MomentTree.unpacked(kind, *tree.packed())
    again.update(rows[37:])
    assert same(again, tree_of(kind, rows))


@KINDS
def test_merging_leaves_the_later_part_as_it_was(kind):
    rows = rows_of(4 * BLOCK)
    first, later = MomentTree(kind), tree_of(kind, rows, start=BLOCK)
    first.update(rows[:BLOCK])
    before = tree_of(kind, rows, start=BLOCK)
    first.merge(later)
    first.update(rows_of(BLOCK))
    assert same(later, before)


def test_parts_join_without_gaps_at_whole_blocks():
    rows = rows_of(4 * BLOCK)
    for start, stop in ((0, 2 * BLOCK), (2 * BLOCK, 4 * BLOCK), (0, BLOCK)):
        later, part = MomentTree(start=BLOCK), MomentTree(start=start)
        later.update(rows[BLOCK:])
        part.update(rows[start:stop])
        if stop == BLOCK:
            part.merge(later)
            assert part.stop == 4 * BLOCK
        else:
            with pytest.raises(ValueError, match="without gaps and overlaps"):
                part.merge(later)
    with pytest.raises(ValueError, match="begins at a multiple of 16 rows, but this at 8"):
        MomentTree(start=8)
    uneven = MomentTree()
    uneven.update(rows[: BLOCK - 1])
    with pytest.raises(ValueError, match="without gaps"):
        uneven.merge(MomentTree(start=BLOCK))


def test_of_no_rows():
    assert MomentTree().moments().count == 0 and MomentTree(start=32).stop == 32
