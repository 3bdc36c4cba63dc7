"""Whether idle times or use counts travel with the keys, by what both servers' memory policies know of them.

    --keep-idle, policies, how it is written, whether a proof would spoil it -> idletime | freq | "" and why not

RESTORE obeys IDLETIME only where the policy is not LFU, and FREQ only where it is; OBJECT tells them likewise.
"""

from __future__ import annotations

from transfer.endpoint.redis.abilities import unlikely_key
from transfer.endpoint.redis.server import Server
from transfer.model.errors import IncompatibleError
from transfer.model.plan import CopyRequest
from transfer.plan.look import Look
from transfer.wire.link import ErrorReply


async def kept_use(
    request: CopyRequest, source: Server, here: Look, there: Look, writing: str
) -> tuple[str, list[str]]:
    """(idletime | freq | "", notes)

    Raises:
        IncompatibleError: --keep-idle on, and it cannot be.
    """
    if not (use := _wanted(request, there)):
        return "", []
    return _settled(request, there, use, await _hindrance(use, source, here, there, writing), here.side.place)


def file_use(request: CopyRequest, told: str, place: str, there: Look, writing: str) -> tuple[str, list[str]]:
    """As `kept_use`, of the file *place*, which tells *told* of its keys: idletime, freq or nothing."""
    if not (use := _wanted(request, there)) or (not told and request.keep_idle == "auto"):
        return "", []
    hindrance = (
        "" if told == use else f"the target goes by {use}, and the file tells {told or 'neither that nor another'}"
    )
    return _settled(
        request, there, use, "type commands have no words for it" if writing == "logical" else hindrance, place
    )


def saved_use(request: CopyRequest, here: Look) -> str:
    """What a file shall tell of the use of keys: what the source's policy goes by; with --keep-idle on in any case."""
    policy = here.memory.policy
    if request.keep_idle == "off" or (request.keep_idle == "auto" and "lru" not in policy and "lfu" not in policy):
        return ""
    return "freq" if "lfu" in policy else "idletime"


def _wanted(request: CopyRequest, there: Look) -> str:
    """What the target goes by, "" if it is not to be carried."""
    decides = "lru" in there.memory.policy or "lfu" in there.memory.policy
    if request.keep_idle == "off" or (request.keep_idle == "auto" and not decides):
        return ""
    return "freq" if "lfu" in there.memory.policy else "idletime"


def _settled(request: CopyRequest, there: Look, use: str, hindrance: str, place: str) -> tuple[str, list[str]]:
    spoils = request.verify != "none" and not there.side.features.no_touch
    if request.keep_idle == "on":
        if hindrance:
            raise IncompatibleError(f"idle times cannot be carried: {hindrance}", where=place)
        return use, [f"the proof reads every key at the target, which counts as use there: {_SPOILT}"] if spoils else []
    if spoils and not hindrance:
        hindrance = f"the proof reads every key at the target: {_SPOILT}"
    return ("", [f"idle times are not carried: {hindrance}"]) if hindrance else (use, [])


_SPOILT = "it has no CLIENT NO-TOUCH for us (--verify none keeps what is carried)"


async def _hindrance(use: str, source: Server, here: Look, there: Look, writing: str) -> str:
    """Why *use* cannot be carried, "" if it can."""
    if writing == "logical":
        return "type commands have no words for it"
    if ("lfu" in here.memory.policy) != (use == "freq"):
        counted = "use counts (LFU)" if use == "freq" else "idle times"
        return f"the target goes by {counted}, and the source, whose maxmemory-policy is {here.memory.policy}, has none"
    async with source.link(db=0) as link:
        answer = await link.command("OBJECT", use.upper(), unlikely_key())
    if isinstance(answer, ErrorReply) and "no such key" not in str(answer):
        return f"the source refuses OBJECT {use.upper()}: {answer}"
    return ""
