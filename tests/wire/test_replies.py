"""The table of error replies: each text has its class and action, and the documents show what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from transfer.model.errors import LinkError, ReplacedError, ServerRefusedError, TransferError
from transfer.wire.dial import refuse
from transfer.wire.link import ErrorReply
from transfer.wire.replies import RULES, Action, ReplyClass, of_all_keys, passes, rule_of, tells, waits

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
REAL = {
    "LOADING Redis is loading the dataset in memory": (ReplyClass.LOADING, Action.RETRY, Action.RESOLVE),
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL": (
        ReplyClass.WAIT,
        Action.RETRY,
        Action.RETRY,
    ),
    "TRYAGAIN Multiple keys request during rehashing of slot": (ReplyClass.WAIT, Action.RETRY, Action.RETRY),
    "CLUSTERDOWN The cluster is down": (ReplyClass.WAIT, Action.RETRY, Action.RETRY),
    "MASTERDOWN Link with MASTER is down": (ReplyClass.WAIT, Action.RETRY, Action.RETRY),
    "NOMASTERLINK Can't SYNC while not connected": (ReplyClass.WAIT, Action.RETRY, Action.RETRY),
    "ERR max number of clients reached": (ReplyClass.WAIT, Action.RETRY, Action.RETRY),
    "NOREPLICAS Not enough good replicas to write.": (ReplyClass.HELD, Action.PAUSE, Action.PAUSE),
    "MISCONF Redis is configured to save RDB snapshots": (ReplyClass.HELD, Action.PAUSE, Action.PAUSE),
    "OOM command not allowed when used memory > 'maxmemory'.": (ReplyClass.FULL, Action.PAUSE, Action.PAUSE),
    "READONLY You can't write against a read only replica.": (ReplyClass.READ_ONLY, Action.RESOLVE, Action.RESOLVE),
    "NOAUTH Authentication required.": (ReplyClass.AUTH, Action.STOP, Action.STOP),
    "WRONGPASS invalid username-password pair": (ReplyClass.AUTH, Action.STOP, Action.STOP),
    "DENIED Redis is running in protected mode": (ReplyClass.OTHER, Action.STOP, Action.STOP),
    "NOPERM User x has no permissions to run the 'restore' command": (ReplyClass.DENIED, Action.STOP, Action.STOP),
    "NOPERM No permissions to access a key": (ReplyClass.DENIED_KEY, Action.STOP, Action.KEY),
    "MOVED 3999 127.0.0.1:6381": (ReplyClass.REDIRECT, Action.STOP, Action.STOP),
    "ASK 3999 127.0.0.1:6381": (ReplyClass.REDIRECT, Action.STOP, Action.STOP),
    "BUSYKEY Target key name already exists.": (ReplyClass.BUSY_KEY, Action.STOP, Action.KEY),
    "ERR DUMP payload version or checksum are wrong": (ReplyClass.PAYLOAD, Action.STOP, Action.KEY),
    "ERR Bad data format": (ReplyClass.PAYLOAD, Action.STOP, Action.KEY),
    "WRONGTYPE Operation against a key holding the wrong kind of value": (
        ReplyClass.OTHER,
        Action.STOP,
        Action.KEY,
    ),
    "EXECABORT Transaction discarded because of: OOM command not allowed": (
        ReplyClass.FULL,
        Action.PAUSE,
        Action.PAUSE,
    ),
}


@pytest.mark.parametrize("text", REAL)
def test_every_reply_has_its_class_and_action(text: str) -> None:
    """As servers word them (redis/src/server.c, networking.c, acl.c)."""
    rule = rule_of(text)

    assert (rule.kind, rule.dialling, rule.running) == REAL[text]


def test_the_documents_show_the_table_of_the_code() -> None:
    """docs/faults.md, row by row and in this order."""
    shown = re.findall(r"^\| `?(.+?)`? \| (.+?) \| (.+?) \|$", PAGE.read_text(), re.MULTILINE)[1:]
    rest = rule_of("no rule names this")

    assert shown == [(rule.prefix.strip(), rule.dialling.value, rule.running.value) for rule in (*RULES, rest)]


def test_a_reply_that_passes_is_dialled_again_and_no_other() -> None:
    """What the control plane raises carries the reply; a replaced process is for the run to look at."""

    def raised(text: str) -> TransferError:
        with pytest.raises(TransferError) as failed:
            refuse(ErrorReply(text), "here")
        return failed.value

    mended = {text for text in REAL if passes(raised(text))}

    assert mended == {text for text in REAL if rule_of(text).dialling in (Action.RETRY, Action.PAUSE, Action.RESOLVE)}
    assert passes(LinkError("the connection broke"))
    assert not passes(ReplacedError("another"))
    assert not passes(ServerRefusedError("LOADING stands in the words, and in no reply"))


def test_who_waits_is_told_what_to_do() -> None:
    """Every rule that pauses has advice; what passes by itself is not told."""
    for text in REAL:
        rule = rule_of(text)
        if Action.PAUSE in (rule.dialling, rule.running) or rule.kind is ReplyClass.READ_ONLY:
            assert rule.advice
            assert rule.advice in tells(ServerRefusedError(text, reply=text))
    assert tells(ServerRefusedError("x", reply="LOADING x")) == ""
    assert waits("OOM x")
    assert not waits("READONLY x")
    assert of_all_keys("NOAUTH x")
    assert not of_all_keys("WRONGTYPE x")
    assert not of_all_keys("")
    assert not of_all_keys("NOPERM User x has no permissions to run the 'zadd' command")
