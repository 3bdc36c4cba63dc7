"""Whether a state directory outlives the machine or the container, told from given mounts."""

from __future__ import annotations

from pathlib import Path

import pytest

from transfer.job.state_dir import passing

MOUNTS = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - overlay overlay rw,lowerdir=/l,upperdir=/u
30 27 0:27 / /dev/shm rw - tmpfs tmpfs rw
31 27 254:1 /vol /root/.local/state rw,relatime master:5 - ext4 /dev/vdb rw
32 27 0:40 / /mnt/my\040disk rw - xfs /dev/vdc rw
33 32 0:41 / /mnt/my\040disk/run rw - tmpfs tmpfs rw
34 27 0:42 / /data rw - tmpfs tmpfs rw
35 27 0:43 / /data rw - ext4 /dev/vdd rw
a line that is cut
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/dev/shm/transfer", "tmpfs: a restart of this machine"),  # noqa: S108
        ("/mnt/my disk/run/x", "tmpfs: a restart of this machine"),
        ("/var/lib/transfer", "a layer of a container's image: the end of that container"),
        ("/dev/shmoo", "a layer of a container's image: the end of that container"),  # noqa: S108
    ],
)
def test_a_directory_that_does_not_last_is_said(path: str, kind: str) -> None:
    """With what forgets it, and the flag that helps."""
    expected = f"the state directory {path} is on {kind} forgets its jobs; --state DIR names another"

    assert passing(Path(path), MOUNTS) == expected


@pytest.mark.parametrize("path", ["/root/.local/state/transfer", "/mnt/my disk/x", "/data/x"])
def test_a_directory_that_lasts_is_not_said(path: str) -> None:
    """The deepest mount counts, and of two on one place the later one."""
    assert passing(Path(path), MOUNTS) == ""


def test_without_mounts_nothing_is_said() -> None:
    """Not Linux, or nothing that reads like them."""
    assert passing(Path("/var/lib"), "") == ""
