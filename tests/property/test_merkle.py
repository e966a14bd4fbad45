"""The tree against RFC 9162 as it is written: recursive, slow and plain."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.merkle import (
    EMPTY_ROOT,
    MerkleTree,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)

SIZE_MAX = 64
# The eight leaves, and the roots over the first n of them, that Certificate Transparency
# implementations are tested with.
CT_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@cache
def mth(leaves: tuple[bytes, ...]) -> bytes:
    """MTH of section 2.1.1, over entries."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = split(len(leaves))
    return hashlib.sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m: int, leaves: tuple[bytes, ...]) -> list[bytes]:
    """PATH of section 2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: tuple[bytes, ...], *, whole: bool) -> list[bytes]:
    """SUBPROOF of section 2.1.4.1."""
    if m == len(leaves):
        return [] if whole else [mth(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], whole=whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], whole=False), mth(leaves[:k])]


def split(n: int) -> int:
    k = 1
    while 2 * k < n:
        k *= 2
    return k


ENTRIES = tuple(f"entry {i}".encode() for i in range(SIZE_MAX))
ROOTS = [mth(ENTRIES[:size]) for size in range(SIZE_MAX + 1)]


def tree_of(entries: Sequence[bytes]) -> MerkleTree:
    tree = MerkleTree()
    for entry in entries:
        tree.append(leaf_hash(entry))
    return tree


TREE = tree_of(ENTRIES)


def test_an_empty_tree_has_the_hash_of_nothing() -> None:
    assert MerkleTree().root() == EMPTY_ROOT == mth(())


@pytest.mark.parametrize("size", range(1, len(CT_LEAVES) + 1))
def test_the_vectors_of_certificate_transparency_hold(size: int) -> None:
    tree = tree_of(CT_LEAVES[:size])

    assert tree.root().hex() == CT_ROOTS[size - 1]


@pytest.mark.parametrize("size", range(1, SIZE_MAX + 1))
def test_a_tree_grown_by_appending_has_the_root_of_the_definition(size: int) -> None:
    assert tree_of(ENTRIES[:size]).root() == ROOTS[size]
    assert TREE.root(size) == ROOTS[size]


@pytest.mark.parametrize("size", range(1, SIZE_MAX + 1))
def test_every_inclusion_proof_is_the_one_of_the_definition_and_holds(size: int) -> None:
    for index in range(size):
        proof = TREE.inclusion_proof(index, size)

        assert list(proof) == path(index, ENTRIES[:size])
        assert verify_inclusion(
            TREE.leaf(index), index=index, size=size, proof=proof, root=ROOTS[size]
        )


@pytest.mark.parametrize("new_size", range(1, SIZE_MAX + 1))
def test_every_consistency_proof_is_the_one_of_the_definition_and_holds(new_size: int) -> None:
    for old_size in range(1, new_size + 1):
        proof = TREE.consistency_proof(old_size, new_size)

        assert list(proof) == subproof(old_size, ENTRIES[:new_size], whole=True)
        assert verify_consistency(
            old_size=old_size,
            old_root=ROOTS[old_size],
            new_size=new_size,
            new_root=ROOTS[new_size],
            proof=proof,
        )


sizes = st.integers(1, SIZE_MAX)


@given(st.data(), sizes)
def test_a_changed_inclusion_proof_fails(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = TREE.inclusion_proof(index, size)

    mutated = data.draw(mutations(proof))

    assert not verify_inclusion(
        TREE.leaf(index), index=index, size=size, proof=mutated, root=ROOTS[size]
    )


@given(st.data(), sizes)
def test_an_inclusion_proof_proves_one_leaf_at_one_place(data: st.DataObject, size: int) -> None:
    index, other = data.draw(st.integers(0, size - 1)), data.draw(st.integers(-2, size + 2))
    proof = TREE.inclusion_proof(index, size)

    holds = verify_inclusion(
        TREE.leaf(index), index=other, size=size, proof=proof, root=ROOTS[size]
    )

    assert holds == (other == index)
    assert not verify_inclusion(
        leaf_hash(b"never logged"), index=index, size=size, proof=proof, root=ROOTS[size]
    )
    assert not verify_inclusion(
        TREE.leaf(index), index=index, size=size, proof=proof, root=ROOTS[size - 1]
    )


@given(st.data(), sizes)
def test_a_changed_consistency_proof_fails(data: st.DataObject, new_size: int) -> None:
    old_size = data.draw(st.integers(1, new_size))
    proof = TREE.consistency_proof(old_size, new_size)

    mutated = data.draw(mutations(proof))

    assert not verify_consistency(
        old_size=old_size,
        old_root=ROOTS[old_size],
        new_size=new_size,
        new_root=ROOTS[new_size],
        proof=mutated,
    )


@given(st.data(), sizes)
def test_a_rewritten_past_has_no_consistency_proof(data: st.DataObject, new_size: int) -> None:
    old_size = data.draw(st.integers(1, new_size))
    rewritten = list(ENTRIES[:new_size])
    rewritten[data.draw(st.integers(0, old_size - 1))] = b"something else"
    tree = tree_of(rewritten)

    holds = verify_consistency(
        old_size=old_size,
        old_root=ROOTS[old_size],
        new_size=new_size,
        new_root=tree.root(),
        proof=tree.consistency_proof(old_size, new_size),
    )

    assert not holds


@pytest.mark.parametrize(("old_size", "new_size"), [(0, 5), (-1, 5), (6, 5)])
def test_sizes_that_make_no_sense_prove_nothing(old_size: int, new_size: int) -> None:
    assert not verify_consistency(
        old_size=old_size, old_root=EMPTY_ROOT, new_size=new_size, new_root=ROOTS[5], proof=()
    )
    with pytest.raises(ValueError, match="no consistency proof"):
        TREE.consistency_proof(old_size, new_size)


def test_an_empty_proof_joins_no_two_sizes() -> None:
    assert not verify_consistency(
        old_size=3, old_root=ROOTS[3], new_size=5, new_root=ROOTS[5], proof=()
    )


@pytest.mark.parametrize("index", [-1, 3, 64])
def test_a_leaf_outside_the_tree_has_no_proof(index: int) -> None:
    with pytest.raises(ValueError, match=f"leaf {index} is not in a tree of 3"):
        TREE.inclusion_proof(index, 3)


@pytest.mark.parametrize("size", [-1, SIZE_MAX + 1])
def test_a_size_the_tree_never_had_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"the tree has {SIZE_MAX} leaves"):
        TREE.root(size)


def test_a_root_is_no_leaf_of_a_larger_tree() -> None:
    root = ROOTS[2]

    assert not verify_inclusion(root, index=0, size=2, proof=(), root=root)


def test_a_leaf_is_no_node() -> None:
    left, right = leaf_hash(b"a"), leaf_hash(b"b")

    assert leaf_hash(left + right) != node_hash(left, right)


@st.composite
def mutations(draw: st.DrawFn, proof: Sequence[bytes]) -> list[bytes]:
    """The proof with one thing wrong."""
    changed = list(proof)
    kinds = ["longer"] + (["shorter", "flipped"] if changed else [])
    kinds += ["swapped"] if len(changed) > 1 else []
    match draw(st.sampled_from(kinds)):
        case "longer":
            changed.insert(
                draw(st.integers(0, len(changed))), draw(st.binary(min_size=32, max_size=32))
            )
        case "shorter":
            del changed[draw(st.integers(0, len(changed) - 1))]
        case "flipped":
            at = draw(st.integers(0, len(changed) - 1))
            bit = draw(st.integers(0, 255))
            changed[at] = (int.from_bytes(changed[at]) ^ (1 << bit)).to_bytes(32)
        case "swapped":
            at = draw(st.integers(0, len(changed) - 2))
            changed[at], changed[at + 1] = changed[at + 1], changed[at]
    return changed
