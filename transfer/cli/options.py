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

_WHAT = Group("What", sort_key=1)
_CHANGE = Group("How it changes", sort_key=2)
_CONFLICT = Group("Conflicts and form", sort_key=3)
_PACE = Group("Pace", sort_key=4)
_PROOF = Group("Proof", sort_key=5)
_RUN = Group("Job", sort_key=6)
_LIMITS = Group("Time limits", sort_key=7)
_TALK = Group("Talk", sort_key=8)


def _flag(group: Group, names: str, metavar: str, text: str, **more: Any) -> Parameter:
    """*names* as `--dry-run -n`; the first one names the variable of the environment."""
    every = names.split()
    variable = "TRANSFER_" + every[0].lstrip("-").replace("-", "_").upper()
    return Parameter(
        name=every,
        group=group,
        help=text,
        metavar=metavar or None,
        env_var=variable,
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
        tuple[str, ...], _flag(_WHAT, "--match", "GLOB", "Keys that fit, as SCAN MATCH; again for more.")
    ] = ()
    exclude: Annotated[tuple[str, ...], _flag(_WHAT, "--exclude", "GLOB", "Leave out keys that fit.")] = ()
    type: Annotated[
        tuple[str, ...], _flag(_WHAT, "--type", "T", "string, list, set, zset, hash or stream; again for more.")
    ] = ()
    db: Annotated[
        tuple[str, ...], _flag(_WHAT, "--db", "N[:M]", "Database N, into M; '*:M' is all into M; again for more.")
    ] = ()
    keys_from: Annotated[
        str,
        _flag(
            _WHAT,
            "--keys-from",
            "FILE",
            "Only the keys named there, one a line; - is stdin.",
            allow_leading_hyphen=True,
        ),
    ] = ""
    sample: Annotated[str, _flag(_WHAT, "--sample", "1%", "A share of the keys, the same ones every time.")] = ""


@Parameter(name="*")
@dataclass(frozen=True)
class Rename:
    """What names become."""

    rename: Annotated[
        tuple[str, ...],
        _flag(_CHANGE, "--rename", "OLD:NEW", "Prefix OLD becomes NEW: old:new, user::person:, or a\\:b:c\\:d."),
    ] = ()


@Parameter(name="*")
@dataclass(frozen=True)
class Change:
    """What deadlines become."""

    ttl: Annotated[
        str, _flag(_CHANGE, "--ttl", "RULE", "keep, drop, rebase (the time that remained), cap=30d or add=1h.")
    ] = "keep"
    min_ttl: Annotated[str, _flag(_CHANGE, "--min-ttl", "D", "Leave out keys that live less than this.")] = ""


@Parameter(name="*")
@dataclass(frozen=True)
class Conflict:
    """What happens to keys that are there, and how keys are written."""

    on_conflict: Annotated[
        Literal["fail", "skip", "replace"] | None,
        _flag(_CONFLICT, "--on-conflict", "fail|skip|replace", "Where the target has another value (default: fail)."),
    ] = None
    delete_extra: Annotated[
        bool, _flag(_CONFLICT, "--delete-extra", "", "Delete keys of the target that the source does not have.")
    ] = False
    route: Annotated[
        Literal["auto", "scan", "psync"],
        _flag(_CONFLICT, "--route", "auto|scan|psync", "Key by key, or one full sync (auto: from a replica)."),
    ] = "auto"
    format: Annotated[
        Literal["auto", "raw", "restamp", "logical"],
        _flag(
            _CONFLICT,
            "--format",
            "auto|raw|restamp|logical",
            "RESTORE as it came, stamped or encoded anew, type commands, or what fits each key (auto).",
        ),
    ] = "auto"
    keep_idle: Annotated[
        Literal["auto", "on", "off"],
        _flag(_CONFLICT, "--keep-idle", "auto|on|off", "Carry idle times or use counts; auto: where they decide."),
    ] = "auto"


@Parameter(name="*")
@dataclass(frozen=True)
class Pace:
    """How fast."""

    pace: Annotated[
        Literal["polite", "max"],
        _flag(_PACE, "--pace", "polite|max", "Spare the source's other clients (default), or nobody."),
    ] = "polite"
    max_source_latency: Annotated[
        str, _flag(_PACE, "--max-source-latency", "5ms", "Polite: so much above its idle latency, at most.")
    ] = "5ms"
    max_target_lag: Annotated[
        str, _flag(_PACE, "--max-target-lag", "64MiB", "Wait while a replica of the target is further behind.")
    ] = "64MiB"
    read_from: Annotated[
        Literal["primary", "replica"],
        _flag(_PACE, "--read-from", "primary|replica", "Read from a replica of the source, to spare the source."),
    ] = "primary"
    max_replica_lag: Annotated[
        str, _flag(_PACE, "--max-replica-lag", "10s", "Refuse, and wait for, a replica further behind than this.")
    ] = "10s"
    rate: Annotated[str, _flag(_PACE, "--rate", "50k/s", "At most so many keys a second.")] = ""
    bwlimit: Annotated[str, _flag(_PACE, "--bwlimit", "100MiB/s", "At most so many bytes a second.")] = ""
    workers: Annotated[int | None, _flag(_PACE, "--workers", "N", "Connections to each side (default: chosen).")] = None
    batch: Annotated[int | None, _flag(_PACE, "--batch", "N", "Keys in one batch (default: chosen).")] = None


@Parameter(name="*")
@dataclass(frozen=True)
class Extent:
    """How much at once, how long at most."""

    max_memory: Annotated[str, _flag(_PACE, "--max-memory", "256MiB", "Bytes held at once.")] = "256MiB"
    max_duration: Annotated[str, _flag(_PACE, "--max-duration", "D", "Stop after this time, exit 8.")] = ""


@Parameter(name="*")
@dataclass(frozen=True)
class Bounds:
    """What a copy bears before it stops, and at once."""

    big_key: Annotated[
        str, _flag(_PACE, "--big-key", "16MiB", "Above this MEMORY USAGE a key is copied in pieces, not by one DUMP.")
    ] = "16MiB"
    max_rejects: Annotated[
        str, _flag(_PACE, "--max-rejects", "1000|0.1%", "Stop when more keys are refused, exit 8.")
    ] = "1000"
    on_full: Annotated[
        Literal["wait", "stop"] | None,
        _flag(_PACE, "--on-full", "wait|stop", "When the target has no memory left (default: wait)."),
    ] = None
    max_skew: Annotated[str, _flag(_PACE, "--max-skew", "1s", "Refuse clocks further apart than this.")] = "1s"


@Parameter(name="*")
@dataclass(frozen=True)
class Check:
    """How much of a copy is checked after it."""

    verify: Annotated[str, _flag(_PROOF, "--verify", "full|sample=1%|none", "Compare after copying.")] = "full"


@Parameter(name="*")
@dataclass(frozen=True)
class Proof:
    """When deadlines count as equal, and what digests are made of."""

    ttl_tolerance: Annotated[
        str, _flag(_PROOF, "--ttl-tolerance", "500ms", "Deadlines this close together are equal.")
    ] = "500ms"
    digest: Annotated[
        Literal["pair", "canonical"],
        _flag(_PROOF, "--digest", "pair|canonical", "Good for this run (faster), or for any version and time."),
    ] = "pair"


@Parameter(name="*")
@dataclass(frozen=True)
class DryRun:
    """The plan and nothing else; or exactly that plan."""

    dry_run: Annotated[bool, _flag(_RUN, "--dry-run -n", "", "Print the plan, write nothing.")] = False
    approved_plan: Annotated[
        str, _flag(_RUN, "--approved-plan", "HASH", "Carry out exactly the plan of this hash, or exit 2.")
    ] = ""
    fresh: Annotated[bool, _flag(_RUN, "--fresh", "", "Begin anew although a job of this pair can be resumed.")] = False


@Parameter(name="*")
@dataclass(frozen=True)
class Keep:
    """What a run is called, and where it keeps what memory does not hold."""

    label: Annotated[str, _flag(_RUN, "--label", "TEXT", "A word for this job, shown by `jobs`.")] = ""
    spill_dir: Annotated[str, _flag(_RUN, "--spill-dir", "DIR", "Where memory spills to.")] = ""
    undo_dir: Annotated[
        str, _flag(_RUN, "--undo-dir", "DIR", "Where undo archives are kept (default: undo/ beside the job store).")
    ] = ""


@Parameter(name="*")
@dataclass(frozen=True)
class Store:
    """Where runs are remembered."""

    state: Annotated[str, _flag(_RUN, "--state", "DIR", "Where the job store is.")] = ""


@Parameter(name="*")
@dataclass(frozen=True)
class Waits:
    """How long to wait for a server."""

    connect_timeout: Annotated[str, _flag(_LIMITS, "--connect-timeout", "10s", "For the first connection.")] = "10s"
    timeout: Annotated[str, _flag(_LIMITS, "--timeout", "30s", "For one answer.")] = "30s"


@Parameter(name="*")
@dataclass(frozen=True)
class GiveUp:
    """How long to try again."""

    give_up_after: Annotated[str, _flag(_LIMITS, "--give-up-after", "5m", "Without any progress at all.")] = "5m"


@Parameter(name="*")
@dataclass(frozen=True)
class Talk:
    """What is said, and asked."""

    json: Annotated[bool, _flag(_TALK, "--json", "", "JSON lines on stdout; the last one is the result.")] = False
    quiet: Annotated[bool, _flag(_TALK, "--quiet -q", "", "No plan, no progress.")] = False
    verbose: Annotated[bool, _flag(_TALK, "--verbose -v", "", "Logs of what happens.")] = False
    log_format: Annotated[
        Literal["console", "json"], _flag(_TALK, "--log-format", "console|json", "Logs, on stderr.")
    ] = "console"
    debug: Annotated[bool, _flag(_TALK, "--debug", "", "All logs, and tracebacks.")] = False


@Parameter(name="*")
@dataclass(frozen=True)
class Allow:
    """Hazards that are accepted beforehand."""

    allow: Annotated[
        tuple[str, ...], _flag(_TALK, "--allow", "NAME,...", "Accept these hazards, by the names that are told.")
    ] = ()


@Parameter(name="*")
@dataclass(frozen=True)
class Consent(Allow):
    """What is accepted, and what is asked."""

    no_input: Annotated[bool, _flag(_TALK, "--no-input", "", "Never ask; what would be asked is refused.")] = False
    yes: Annotated[bool, _flag(_TALK, "--yes", "", "Accept the printed plan; accepts no hazard.")] = False


@Parameter(name="*")
@dataclass(frozen=True)
class Names:
    """How names of keys are shown."""

    hash_keys: Annotated[bool, _flag(_TALK, "--hash-keys", "", "Names hashed in findings, rejects and logs.")] = False


@Parameter(name="*")
@dataclass(frozen=True)
class BenchData:
    """What a benchmark measures, and how often. Words and numbers left out are the question's own."""

    keys: Annotated[int | None, _flag(_WHAT, "--keys", "N", "How many keys (copy: 1000000).")] = None
    rounds: Annotated[int | None, _flag(_WHAT, "--rounds", "N", "How often each way takes its turn (3).")] = None
    seed: Annotated[int, _flag(_WHAT, "--seed", "N", "The same seed, the same data (1).")] = 1
    values: Annotated[
        str, _flag(_WHAT, "--values", "mixed|small|N", "Every type; strings of 100 bytes; strings of N bytes.")
    ] = ""
    server: Annotated[
        str, _flag(_WHAT, "--server", "PROGRAM", "What to start: a path, a name on PATH, or bundled (redis-server).")
    ] = ""
    way: Annotated[tuple[str, ...], _flag(_WHAT, "--way", "NAME", "Only this row of the table; again for more.")] = ()


@Parameter(name="*")
@dataclass(frozen=True)
class BenchOut:
    """What becomes of a result."""

    out: Annotated[str, _flag(_RUN, "--out", "FILE.json", "Write the result, every round in it.")] = ""
    plot: Annotated[str, _flag(_RUN, "--plot", "FILE.svg", "Draw it, .svg or .png (extra `bench`).")] = ""
    compare: Annotated[str, _flag(_RUN, "--compare", "BASE.json", "Changes since a result that --out wrote.")] = ""


@Parameter(name="*")
@dataclass(frozen=True)
class BenchLimits:
    """What a result must keep."""

    max: Annotated[
        tuple[str, ...], _flag(_PROOF, "--max", "RATIO=N", "Exit 6 if the ratio is more; again for more.")
    ] = ()
    min: Annotated[
        tuple[str, ...], _flag(_PROOF, "--min", "RATIO=N", "Exit 6 if the ratio is less; again for more.")
    ] = ()
    limits: Annotated[
        str, _flag(_PROOF, "--limits", "reach|stretch|FILE", "What this project aims at, or limits of yours (JSON).")
    ] = ""


@Parameter(name="*")
@dataclass(frozen=True)
class Packing:
    """How an archive is written."""

    level: Annotated[
        int | None, _flag(_CONFLICT, "--level", "N", "Of zstd, for an archive: 0 (none) to 19 (default: 3).")
    ] = None
    encrypt_to: Annotated[
        tuple[str, ...],
        _flag(_CONFLICT, "--encrypt-to", "KEY", "For name.xfer.age: age1..., ssh-..., a file of such; again for more."),
    ] = ()


@Parameter(name="*")
@dataclass(frozen=True)
class Trial:
    """What a backup has to prove."""

    trial_restore: Annotated[
        bool, _flag(_PROOF, "--trial-restore", "", "Restore the file into a throw-away server, and compare it there.")
    ] = False


@Parameter(name="*")
@dataclass(frozen=True)
class Opening:
    """What opens an encrypted archive."""

    identity: Annotated[str, _flag(_CONFLICT, "--identity", "FILE", "The age or SSH key that opens name.xfer.age.")] = (
        ""
    )


@Parameter(name="*")
@dataclass(frozen=True)
class Rescue:
    """What becomes of a damaged file."""

    salvage: Annotated[
        bool,
        _flag(_CONFLICT, "--salvage", "", "Take what can be had of a damaged file; exit 12 if anything is missing."),
    ] = False


@Parameter(name="*")
@dataclass(frozen=True)
class Deep:
    """How closely a file is looked at."""

    deep: Annotated[
        bool, _flag(_PROOF, "--deep", "", "Of an archive every record and value, too, not only blocks and manifest.")
    ] = False


@Parameter(name="*")
@dataclass(frozen=True)
class OneKey:
    """One key of an archive."""

    key: Annotated[
        str | None, _flag(_WHAT, "--key", "NAME", "Of an archive only this key, without reading the rest.")
    ] = None
    db: Annotated[int | None, _flag(_WHAT, "--db", "N", "The database of --key (0).")] = None


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
