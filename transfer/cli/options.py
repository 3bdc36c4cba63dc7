"""The flags of this release, in the groups that `--help` prints.

    argv -> cyclopts -> What, Change, Conflict, Pace, ... -> `cli/request.py` -> CopyRequest

Rule 1: every flag is also `TRANSFER_<FLAG>` in the environment; what is on the command line wins.
Rule 2: a flag that is not here is refused as unknown, never ignored.
        So a command takes only the groups it obeys.
Rule 3: words stay words here; their meaning is checked in one place, `cli/request.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

WHAT = Group("What", sort_key=1)
_CHANGE = Group("How it changes", sort_key=2)
CONFLICT = Group("Conflicts and form", sort_key=3)
_PACE = Group("Pace", sort_key=4)
PROOF = Group("Proof", sort_key=5)
RUN = Group("Job", sort_key=6)
_LIMITS = Group("Time limits", sort_key=7)
_TALK = Group("Talk", sort_key=8)


def flag_variable(name: str) -> str:
    """What the flag *name* is called in the environment."""
    return "TRANSFER_" + name.lstrip("-").replace("-", "_").upper()


def flag(group: Group, names: str, metavar: str, text: str, **more: Any) -> Parameter:
    """*names* as `--dry-run -n`; the first one names the variable of the environment."""
    every = names.split()
    return Parameter(
        name=every,
        group=group,
        help=text,
        metavar=metavar or None,
        env_var=flag_variable(every[0]),
        show_env_var=False,
        negative=(),
        show_default=False,
        show_choices=False,
        **more,
    )


PLACE = Parameter(allow_leading_hyphen=True, show_default=False)
"""A bare `-` is a place; anything else that begins so is an option, and said to be unknown."""


@Parameter(name="*")
@dataclass(frozen=True)
class What:
    """Which keys."""

    match: Annotated[
        tuple[str, ...], flag(WHAT, "--match", "GLOB", "Keys that fit, as SCAN MATCH; again for more.")
    ] = ()
    exclude: Annotated[tuple[str, ...], flag(WHAT, "--exclude", "GLOB", "Leave out keys that fit.")] = ()
    type: Annotated[
        tuple[str, ...], flag(WHAT, "--type", "T", "string, list, set, zset, hash or stream; again for more.")
    ] = ()
    db: Annotated[
        tuple[str, ...], flag(WHAT, "--db", "N[:M]", "Database N, into M; '*:M' is all into M; again for more.")
    ] = ()
    keys_from: Annotated[
        str,
        flag(
            WHAT,
            "--keys-from",
            "FILE",
            "Only the keys named there, one a line; - is stdin.",
            allow_leading_hyphen=True,
        ),
    ] = ""
    sample: Annotated[str, flag(WHAT, "--sample", "1%", "A share of the keys, the same ones every time.")] = ""


@Parameter(name="*")
@dataclass(frozen=True)
class Rename:
    """What names become."""

    rename: Annotated[
        tuple[str, ...],
        flag(_CHANGE, "--rename", "OLD:NEW", "Prefix OLD becomes NEW: old:new, user::person:, or a\\:b:c\\:d."),
    ] = ()


@Parameter(name="*")
@dataclass(frozen=True)
class Change:
    """What deadlines become."""

    ttl: Annotated[
        str, flag(_CHANGE, "--ttl", "RULE", "keep, drop, rebase (the time that remained), cap=30d or add=1h.")
    ] = "keep"
    min_ttl: Annotated[str, flag(_CHANGE, "--min-ttl", "D", "Leave out keys that live less than this.")] = ""


@Parameter(name="*")
@dataclass(frozen=True)
class Conflict:
    """What happens to keys that are there, and how keys are written."""

    on_conflict: Annotated[
        Literal["fail", "skip", "replace"] | None,
        flag(CONFLICT, "--on-conflict", "fail|skip|replace", "Where the target has another value (default: fail)."),
    ] = None
    delete_extra: Annotated[
        bool, flag(CONFLICT, "--delete-extra", "", "Delete keys of the target that the source does not have.")
    ] = False
    route: Annotated[
        Literal["auto", "scan", "psync"],
        flag(CONFLICT, "--route", "auto|scan|psync", "Key by key, or one full sync (auto: from a replica)."),
    ] = "auto"
    format: Annotated[
        Literal["auto", "raw", "restamp", "logical"],
        flag(
            CONFLICT,
            "--format",
            "auto|raw|restamp|logical",
            "RESTORE as it came, stamped or encoded anew, type commands, or what fits each key (auto).",
        ),
    ] = "auto"
    keep_idle: Annotated[
        Literal["auto", "on", "off"],
        flag(CONFLICT, "--keep-idle", "auto|on|off", "Carry idle times or use counts; auto: where they decide."),
    ] = "auto"


@Parameter(name="*")
@dataclass(frozen=True)
class Sparing:
    """What servers that are read are spared."""

    pace: Annotated[
        Literal["polite", "max"],
        flag(_PACE, "--pace", "polite|max", "Spare the source's other clients (default), or nobody."),
    ] = "polite"
    max_source_latency: Annotated[
        str, flag(_PACE, "--max-source-latency", "5ms", "Polite: so much above its idle latency, at most.")
    ] = "5ms"


@Parameter(name="*")
@dataclass(frozen=True)
class Pace(Sparing):
    """How fast."""

    max_target_lag: Annotated[
        str, flag(_PACE, "--max-target-lag", "64MiB", "Wait while a replica of the target is further behind.")
    ] = "64MiB"
    read_from: Annotated[
        Literal["primary", "replica"],
        flag(_PACE, "--read-from", "primary|replica", "Read from a replica of the source, to spare the source."),
    ] = "primary"
    max_replica_lag: Annotated[
        str, flag(_PACE, "--max-replica-lag", "10s", "Refuse, and wait for, a replica further behind than this.")
    ] = "10s"
    rate: Annotated[str, flag(_PACE, "--rate", "50k/s", "At most so many keys a second.")] = ""
    bwlimit: Annotated[str, flag(_PACE, "--bwlimit", "100MiB/s", "At most so many bytes a second.")] = ""
    workers: Annotated[int | None, flag(_PACE, "--workers", "N", "Connections to each side (default: chosen).")] = None
    batch: Annotated[int | None, flag(_PACE, "--batch", "N", "Keys in one batch (default: chosen).")] = None


@Parameter(name="*")
@dataclass(frozen=True)
class Extent:
    """How much at once, how long at most."""

    max_memory: Annotated[str, flag(_PACE, "--max-memory", "256MiB", "Bytes held at once.")] = "256MiB"
    max_duration: Annotated[str, flag(_PACE, "--max-duration", "D", "Stop after this time, exit 8.")] = ""


@Parameter(name="*")
@dataclass(frozen=True)
class Bounds:
    """What a copy bears before it stops, and at once."""

    big_key: Annotated[
        str, flag(_PACE, "--big-key", "16MiB", "Above this MEMORY USAGE a key is copied in pieces, not by one DUMP.")
    ] = "16MiB"
    max_rejects: Annotated[
        str, flag(_PACE, "--max-rejects", "1000|0.1%", "Stop when more keys are refused, exit 8.")
    ] = "1000"
    on_full: Annotated[
        Literal["wait", "stop"] | None,
        flag(_PACE, "--on-full", "wait|stop", "When the target has no memory left (default: wait)."),
    ] = None
    max_skew: Annotated[str, flag(_PACE, "--max-skew", "1s", "Refuse clocks further apart than this.")] = "1s"


@Parameter(name="*")
@dataclass(frozen=True)
class Check:
    """How much of a copy is checked after it."""

    verify: Annotated[str, flag(PROOF, "--verify", "full|sample=1%|none", "Compare after copying.")] = "full"


@Parameter(name="*")
@dataclass(frozen=True)
class Proof:
    """When deadlines count as equal, and what digests are made of."""

    ttl_tolerance: Annotated[
        str, flag(PROOF, "--ttl-tolerance", "500ms", "Deadlines this close together are equal.")
    ] = "500ms"
    digest: Annotated[
        Literal["pair", "canonical"],
        flag(PROOF, "--digest", "pair|canonical", "Good for this run (faster), or for any version and time."),
    ] = "pair"


@Parameter(name="*")
@dataclass(frozen=True)
class DryRun:
    """The plan and nothing else; or exactly that plan."""

    dry_run: Annotated[bool, flag(RUN, "--dry-run -n", "", "Print the plan, write nothing.")] = False
    approved_plan: Annotated[
        str, flag(RUN, "--approved-plan", "HASH", "Carry out exactly the plan of this hash, or exit 2.")
    ] = ""
    fresh: Annotated[bool, flag(RUN, "--fresh", "", "Begin anew although a job of this pair can be resumed.")] = False


@Parameter(name="*")
@dataclass(frozen=True)
class Keep:
    """What a run is called, and where it keeps what memory does not hold."""

    label: Annotated[str, flag(RUN, "--label", "TEXT", "A word for this job, shown by `jobs`.")] = ""
    spill_dir: Annotated[str, flag(RUN, "--spill-dir", "DIR", "Where memory spills to.")] = ""
    undo_dir: Annotated[
        str, flag(RUN, "--undo-dir", "DIR", "Where undo archives are kept (default: undo/ beside the job store).")
    ] = ""


@Parameter(name="*")
@dataclass(frozen=True)
class Store:
    """Where runs are remembered."""

    state: Annotated[str, flag(RUN, "--state", "DIR", "Where the job store is.")] = ""


@Parameter(name="*")
@dataclass(frozen=True)
class Waits:
    """How long to wait for a server."""

    connect_timeout: Annotated[str, flag(_LIMITS, "--connect-timeout", "10s", "For the first connection.")] = "10s"
    timeout: Annotated[str, flag(_LIMITS, "--timeout", "30s", "For one answer.")] = "30s"


@Parameter(name="*")
@dataclass(frozen=True)
class GiveUp:
    """How long to try again."""

    give_up_after: Annotated[str, flag(_LIMITS, "--give-up-after", "5m", "Without any progress at all.")] = "5m"


@Parameter(name="*")
@dataclass(frozen=True)
class Talk:
    """What is said, and asked."""

    json: Annotated[bool, flag(_TALK, "--json", "", "JSON lines on stdout; the last one is the result.")] = False
    quiet: Annotated[bool, flag(_TALK, "--quiet -q", "", "No plan, no progress.")] = False
    verbose: Annotated[bool, flag(_TALK, "--verbose -v", "", "Logs of what happens.")] = False
    log_format: Annotated[
        Literal["console", "json"], flag(_TALK, "--log-format", "console|json", "Logs, on stderr.")
    ] = "console"
    debug: Annotated[bool, flag(_TALK, "--debug", "", "All logs, and tracebacks.")] = False


@Parameter(name="*")
@dataclass(frozen=True)
class Allow:
    """Hazards that are accepted beforehand."""

    allow: Annotated[
        tuple[str, ...], flag(_TALK, "--allow", "NAME,...", "Accept these hazards, by the names that are told.")
    ] = ()


@Parameter(name="*")
@dataclass(frozen=True)
class Consent(Allow):
    """What is accepted, and what is asked."""

    no_input: Annotated[bool, flag(_TALK, "--no-input", "", "Never ask; what would be asked is refused.")] = False
    yes: Annotated[bool, flag(_TALK, "--yes", "", "Accept the printed plan; accepts no hazard.")] = False


@Parameter(name="*")
@dataclass(frozen=True)
class Unasked:
    """What scripts give to every command, for those that never ask: taken, and without effect."""

    no_input: Annotated[bool, flag(_TALK, "--no-input", "", "Never ask; nothing is asked here.")] = False
    yes: Annotated[bool, flag(_TALK, "--yes", "", "As of other commands; nothing is asked here.")] = False


@Parameter(name="*")
@dataclass(frozen=True)
class Names:
    """How names of keys are shown."""

    hash_keys: Annotated[bool, flag(_TALK, "--hash-keys", "", "Names hashed in findings, rejects and logs.")] = False


@Parameter(name="*")
@dataclass(frozen=True)
class Acting:
    """All that a command which brings nothing from elsewhere can be told besides: clear and undo."""

    extent: Extent = Extent()
    dry_run: DryRun = DryRun()
    keep: Keep = Keep()
    store: Store = Store()
    waits: Waits = Waits()
    give_up: GiveUp = GiveUp()
    talk: Talk = Talk()
    consent: Consent = Consent()
    names: Names = Names()


@Parameter(name="*")
@dataclass(frozen=True)
class Moving:
    """All that a command which moves keys can be told: copy, import and export."""

    what: What = What()
    rename: Rename = Rename()
    change: Change = Change()
    conflict: Conflict = Conflict()
    pace: Pace = Pace()
    extent: Extent = Extent()
    bounds: Bounds = Bounds()
    check: Check = Check()
    proof: Proof = Proof()
    dry_run: DryRun = DryRun()
    keep: Keep = Keep()
    store: Store = Store()
    waits: Waits = Waits()
    give_up: GiveUp = GiveUp()
    talk: Talk = Talk()
    consent: Consent = Consent()
    names: Names = Names()
