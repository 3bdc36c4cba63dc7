"""`transfer explain CODE`: what an error code means and what to do about it.

    CODE -> the class of `model/errors.py` (exit code, hint) + MEANINGS here -> lines

Rule: every code of the tree has its entry; a test compares them.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from transfer.cli.options import Talk
from transfer.cli.render.json import simple_result
from transfer.cli.render.out import Out
from transfer.cli.request import nearest
from transfer.model.errors import TransferError, UsageError


class Meaning(msgspec.Struct, frozen=True):
    """What happened, and what helps, the likeliest first."""

    what: str
    do: tuple[str, ...]


MEANINGS: dict[str, Meaning] = {
    "E100": Meaning(
        "Something happened that nobody foresaw: a fault in transfer itself.",
        (
            "run again: what was copied already is skipped, being equal",
            "read the traceback named in the message, or run again with --debug",
            "report it with the traceback; it holds no passwords",
        ),
    ),
    "E101": Meaning(
        "The words of the command do not fit together; nothing was begun.",
        ("transfer COMMAND --help lists the flags of this release", "units read like 30s, 64MiB, 50k/s, 1%"),
    ),
    "E102": Meaning(
        "A place could not be understood: a wrong scheme, a misspelt option, a number that is none.",
        (
            "a place reads redis://[user[:password]@]host[:6379][/db], rediss:// with TLS, unix:///path/to.sock?db=0",
            "characters / : @ # % in a user or password are written %2F %3A %40 %23 %25",
        ),
    ),
    "E103": Meaning(
        "Source and target are the same data, or one replicates from the other: a copy would meet its own writes.",
        ("transfer doctor SRC DST shows who answers at both addresses", "REPLICAOF NO ONE first, if they shall part"),
    ),
    "E104": Meaning(
        "The plan holds a hazard that was not accepted, or is not the plan that was approved; nothing was written.",
        (
            "transfer copy SRC DST --dry-run prints the plan with its hazards",
            "--allow NAME accepts one of them, and only that one",
            "--on-conflict skip (or replace) is consent to a target that holds keys",
        ),
    ),
    "E105": Meaning(
        "Two source keys, or two databases, would become one at the target, and one of them would be lost.",
        ("give every --rename a prefix of its own", "map databases apart: --db 0:0 --db 1:1"),
    ),
    "E106": Meaning(
        "One way of a benchmark failed, or did not bring every key across.",
        ("run the same way by hand: its output says why", "leave it out: name the other rows with --way"),
    ),
    "E107": Meaning(
        "A fault of this program: it read keys and lost sight of them before they were written, skipped or refused.",
        ("transfer resume ID reads them again", "transfer verify SRC DST shows what is missing", "please report it"),
    ),
    "E200": Meaning(
        "A connection broke. Within a run it is made again; this one could not be.",
        ("transfer doctor URL", "--timeout and --give-up-after say how long to wait"),
    ),
    "E201": Meaning(
        "Nobody answers at this address: no such host, nothing listens at the port, or a firewall drops what is sent.",
        ("check host and port: redis-cli -h HOST -p PORT ping", "from a container, localhost is the container itself"),
    ),
    "E202": Meaning(
        "The server did not accept user or password.",
        (
            "set TRANSFER_SOURCE_PASSWORD and TRANSFER_TARGET_PASSWORD, or ..._FILE with the path of a file",
            "a user of the ACL goes into the URL: redis://user@host",
            "characters / : @ # % in a password are percent-encoded in a URL",
        ),
    ),
    "E203": Meaning(
        "The user of the ACL may not run a command that is needed, or not on these keys.",
        (
            "transfer doctor URL lists every right that is needed",
            "source, read only: ACL SETUSER NAME ~* +@read +@connection +info +dump +scan +multi +exec",
            "target: ACL SETUSER NAME ~* +@write +@read +@connection +info +restore +multi +exec",
        ),
    ),
    "E204": Meaning(
        "Some keys were refused or met another value; everything else was copied and checked.",
        (
            "transfer jobs show ID lists each key with its cause",
            "`DUMP payload version`: --format auto writes such keys by type commands",
            "keys that were there already: --on-conflict skip or replace",
        ),
    ),
    "E301": Meaning(
        "The target holds another value or deadline under this name. It stays, and the key is listed: policy fail.",
        ("--on-conflict replace writes over it", "--on-conflict skip leaves it too, and exits 0"),
    ),
    "E302": Meaning(
        "The source answered with an error when this key was read; the others were copied.",
        ("the cause is the server's own words: often an ACL key pattern", "transfer doctor URL lists missing rights"),
    ),
    "E303": Meaning(
        "A large value goes through one DUMP and RESTORE, or in pieces. Neither was possible for this one.",
        (
            "one item of it is larger than a reply may be: a larger --max-memory raises that, up to 24 MiB",
            "its type cannot be read in pieces (a module's): raise proto-max-bulk-len of the target",
            "--format raw, restamp and logical each leave only some of the ways; auto takes whichever fits a key",
        ),
    ),
    "E305": Meaning(
        "Two source keys come to one name at the target by --rename or --db. The first one has it.",
        ("choose a mapping that keeps names apart", "narrow with --match so that only one of them is copied"),
    ),
    "E205": Meaning(
        "TLS failed: the certificate is unknown, expired or for another host. No password was sent.",
        (
            "?cacert=FILE names the authority to trust",
            "the host of the URL must be in the certificate: use that name, not the address",
            "rediss:// against a port without TLS fails so as well",
        ),
    ),
    "E206": Meaning(
        "A server was out of reach, and there was no progress for the whole of --give-up-after.",
        (
            "bring the server back, then transfer resume ID",
            "--give-up-after 30m waits longer",
        ),
    ),
    "E207": Meaning(
        "Something answers at this port, but not Redis: HTTP, TLS, or another service.",
        ("check the port", "rediss:// if the server expects TLS"),
    ),
    "E208": Meaning(
        "One answer was larger than what may be held in memory; the connection was closed.",
        ("--max-memory 1GiB allows larger values", "transfer inspect URL names the big keys"),
    ),
    "E209": Meaning(
        "The target refuses writes: it is a replica.",
        ("give the address of its primary; transfer doctor URL names it",),
    ),
    "E210": Meaning(
        "The source is a replica whose link to its primary is down, or that is still loading: it may lack keys.",
        ("wait until INFO replication says master_link_status:up", "or copy from the primary"),
    ),
    "E211": Meaning("A file that was named is not there or cannot be read.", ("check the path and its rights",)),
    "E212": Meaning(
        "The server answered with an error that trying again does not mend.",
        ("the message holds its words", "transfer doctor URL"),
    ),
    "E213": Meaning(
        "Another server process answers at this address than before: a restart or a failover.",
        ("transfer doctor URL shows who answers", "transfer resume ID, once the right server answers"),
    ),
    "E214": Meaning(
        "The source refused a full sync (PSYNC), or it broke off; where that happens in a copy, it goes on by SCAN.",
        (
            "rights for it: ACL SETUSER NAME +psync +replconf +ping",
            "many services that run servers for others never allow it: --route scan",
        ),
    ),
    "E215": Meaning(
        "The source was restarted without its data, or replaced by an empty server, while a copy was under way. "
        "The job is kept as it was: nothing at the target is touched.",
        (
            "restore the source from its RDB or AOF, or promote a replica that has the data",
            "transfer resume ID, once it has its data again: what has arrived is not sent again",
            "the same copy with --fresh, if the source is meant to be empty",
        ),
    ),
    "E500": Meaning(
        "This pair of servers cannot do it.", ("transfer doctor SRC DST says what will travel and what will not",)
    ),
    "E501": Meaning(
        "A cluster node stands behind a plain URL: it holds only its slots, not all keys.",
        ("--allow one-shard copies the keys of this node alone", "copy each primary of the cluster in its turn"),
    ),
    "E502": Meaning(
        "A Sentinel stands behind the URL: it watches servers and holds no keys.",
        ("redis-cli -p 26379 SENTINEL get-master-addr-by-name NAME gives the address to use",),
    ),
    "E503": Meaning(
        "The target has fewer logical databases than are needed.",
        ("--db 5:0 maps one into another", "raise `databases` in the target's configuration"),
    ),
    "E504": Meaning(
        "The data of the source does not fit into the target's maxmemory.",
        (
            "raise maxmemory at the target",
            "narrow it: --match, --db, --type",
            "--on-full stop goes on until it is full, --on-full wait waits for room",
        ),
    ),
    "E505": Meaning(
        "The target throws keys away when it is full, also those that were just copied.",
        ("CONFIG SET maxmemory-policy noeviction at the target", "--allow evicting-target accepts it"),
    ),
    "E800": Meaning("A limit that was set has been reached.", ("transfer resume ID goes on where it stopped",)),
    "E801": Meaning(
        "More keys were refused than --max-rejects allows.",
        ("transfer jobs show ID lists them with their causes", "--max-rejects 1% or 100000 allows more"),
    ),
    "E802": Meaning(
        "The time of --max-duration has passed; what was in flight was written.",
        ("transfer resume ID goes on where it stopped",),
    ),
    "E803": Meaning(
        "The target has no memory left, and --on-full stop was said.",
        ("make room or raise maxmemory, then transfer resume ID", "--on-full wait waits for room"),
    ),
    "E804": Meaning(
        "The state directory, or the undo archive, cannot be written: its disk is full, or fails. What was written is "
        "there; no key was changed that is not captured.",
        ("make room there, then transfer resume ID", "--state DIR names another place for the next job"),
    ),
    "E1100": Meaning(
        "Another run holds what this one needs.",
        ("transfer jobs list shows what runs", "wait for it, or give this run its own --state DIR"),
    ),
    "E1200": Meaning(
        "A file or a payload is damaged, cut, or of another kind than it should be.",
        ("read it where it came from and compare sizes", "a damaged job store: move it away, or use --state DIR"),
    ),
    "E1201": Meaning(
        "A file or a payload ends before it is whole.",
        ("compare its size with where it came from; a save may still be running there", "keys before the cut are good"),
    ),
    "E1202": Meaning(
        "A checksum does not hold: bytes are not what was written. Which of them is not known.",
        ("copy the file again from where it came from", "let the server it came from save it again"),
    ),
    "E1203": Meaning(
        "An opcode, value type or version that this program does not know, in a file or in a payload.",
        ("see docs/compatibility.md for what is known", "a live server passes on what it can read: copy from there"),
    ),
    "E1204": Meaning(
        "An encrypted file, or an identity that is itself encrypted, cannot be opened by what was given.",
        (
            "--identity FILE: the key whose public half it was encrypted to",
            "TRANSFER_IDENTITY_PASSPHRASE for an identity",
        ),
    ),
    "E1300": Meaning(
        "Ctrl-C, SIGTERM or `transfer jobs pause`: what was in flight was written, the job is kept.",
        ("transfer resume ID goes on where it stopped", "transfer jobs show ID"),
    ),
    "E1301": Meaning(
        "`transfer jobs cancel`: what was in flight was written and stays, the job is never gone on with.",
        ("transfer jobs show ID tells what was written", "transfer jobs clean ID removes what else it left"),
    ),
}


def explain(code: Annotated[str, Parameter(show_default=False)] = "", /, *, talk: Talk = Talk()) -> int:  # noqa: B008
    """What an error code means and what to do; without a code, all of them.

    Parameters
    ----------
    code
        As it was printed: E204, or 204.
    """
    out = Out(sys.stdout)
    known = classes()
    if not code:
        every = [_data(known[name]) for name in known]
        width = len("E1300")
        listing = [f"{item['code']:<{width}}  exit {item['exit']:<3}  {item['meaning']}" for item in every]
        out.say(simple_result("explain", every)) if talk.json else out.say(*listing)
        return 0
    name = _name(code, list(known))
    found = _data(known[name])
    out.say(simple_result("explain", found)) if talk.json else out.say(*_lines(found, out))
    return 0


def classes() -> dict[str, type[TransferError]]:
    """Code -> class, in the order of the tree."""

    def below(kind: type[TransferError]) -> list[type[TransferError]]:
        return [kind, *(inner for child in kind.__subclasses__() for inner in below(child))]

    return {kind.code: kind for kind in sorted(below(TransferError), key=lambda kind: int(kind.code[1:]))}


def _name(code: str, known: list[str]) -> str:
    name = code.upper() if code[:1] in "eE" else f"E{code}"
    if name not in known:
        raise UsageError(
            f"there is no error code {code!r}", hint=nearest(name, known) or "transfer explain lists all of them"
        )
    return name


def _data(kind: type[TransferError]) -> dict[str, Any]:
    meaning = MEANINGS[kind.code]
    return {
        "code": kind.code,
        "name": kind.__name__,
        "exit": kind.exit_code,
        "retryable": kind.retryable,
        "meaning": meaning.what,
        "do": list(meaning.do),
    }


def _lines(found: dict[str, Any], out: Out) -> list[str]:
    lines = [out.paint(f"{found['code']}  {found['name']}, exit code {found['exit']}", "bold"), "", found["meaning"]]
    if found["retryable"]:
        lines.append("Within a run it is tried again; you see it only where that did not help.")
    return [*lines, "", "What to do:", *(f"  - {text}" for text in found["do"])]
