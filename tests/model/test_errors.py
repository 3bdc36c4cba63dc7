"""The tree of failures is told in a docstring, in `explain` and by the classes: all three must say the same."""

from __future__ import annotations

import re

from transfer.cli.commands.explain import MEANINGS, classes
from transfer.model import errors
from transfer.model.errors import TransferError


def _tree(kind: type[TransferError], depth: int = 0) -> list[tuple[int, str, str, int]]:
    here = [(depth, kind.__name__, kind.code, kind.exit_code)]
    return here + [line for child in kind.__subclasses__() for line in _tree(child, depth + 1)]


def _told() -> list[tuple[int, str, str, int]]:
    line = re.compile(r"^    ([│ ├└─]*)(\w+) \((E\d+), exit (\d+)\)$", re.MULTILINE)
    found = line.finditer(errors.__doc__ or "")
    return [(len(match[1]) // 4, match[2], match[3], int(match[4])) for match in found]


def test_the_printed_tree_is_the_tree_of_classes() -> None:
    """Names, nesting, codes and exit codes of the docstring are those of the classes."""
    assert sorted(_told()) == sorted(_tree(TransferError))


def test_every_code_belongs_to_one_failure() -> None:
    """`explain CODE` and scripts can tell failures apart by their codes."""
    codes = [code for _, _, code, _ in _tree(TransferError)]

    assert len(codes) == len(set(codes)) == len(classes())


def test_every_code_is_explained() -> None:
    """What it means and at least one thing to do, for each, and for nothing else."""
    assert set(MEANINGS) == set(classes())
    assert all(meaning.what and meaning.do for meaning in MEANINGS.values())


def test_every_exit_code_is_one_of_the_contract() -> None:
    """Scripts depend on these numbers."""
    assert {exit_code for *_, exit_code in _tree(TransferError)} <= {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 130, 143}


def test_every_failure_names_a_next_step() -> None:
    """A hint is never empty, and one that is given goes before the usual one."""
    assert all(kind("what failed").hint for kind in classes().values())
    assert TransferError("what failed", hint="do this").hint == "do this"


def test_numbers_are_attributes_as_well() -> None:
    """A program need not read the message."""
    assert TransferError("3 keys", keys=3).facts == {"keys": 3}
