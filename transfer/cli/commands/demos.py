"""`transfer demo` and `transfer demo fill|verify|clear URL`: the words; what they do is in `demo.py`."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import App, Parameter

from transfer.cli import loop
from transfer.cli.conduct import speaker_for, start_log
from transfer.cli.options import PLACE, Names, Store, Talk, Waits
from transfer.cli.outcome import run_and_tell, tell
from transfer.cli.render.out import Out
from transfer.cli.request import place, waits_ms
from transfer.model.endpoint import Address
from transfer.model.errors import UsageError
from transfer.model.plan import CopyRequest
from transfer.model.ports import Observer
from transfer.model.report import Report

app = App(name="demo", default_parameter=Parameter(negative=()), help_format="plaintext", result_action="return_value")

Keys = Annotated[int, Parameter(env_var="TRANSFER_KEYS", show_env_var=False, help="How many keys.")]
Seed = Annotated[int, Parameter(env_var="TRANSFER_SEED", show_env_var=False, help="The same seed, the same keys.")]


@app.default
def demo(*, keys: Keys = 200_000, seed: Seed = 1, store: Store = Store(), talk: Talk = Talk()) -> int:  # noqa: B008
    """Start two throw-away servers, fill one, copy it into the other, verify in full, end both."""
    from transfer.cli.commands.demo import run_demo
    from transfer.job.copy import run_copy
    from transfer.plan.preflight import plan_copy

    start_log(talk)
    speaker = speaker_for(CopyRequest(source=Address(), target=Address()), talk, no_input=True)
    aside = Out(sys.stderr if talk.json else sys.stdout)

    async def copying(request: CopyRequest, observer: Observer) -> Report:
        speaker.request = request
        try:
            report = await run_copy(request, observer, plan_copy)
        except BaseException:
            speaker.stop()
            raise
        if not talk.json:
            speaker.end(report, None)
        return report

    async def run() -> int:
        outcome = await run_demo(copying, speaker, aside.say, keys=_some(keys), seed=seed, state_dir=store.state)
        return tell("demo", talk, outcome)

    return loop.run(run)


@app.command
def fill(
    url: Annotated[str, PLACE],
    /,
    *,
    keys: Keys = 200_000,
    seed: Seed = 1,
    waits: Waits = Waits(),  # noqa: B008 - frozen
    talk: Talk = Talk(),  # noqa: B008
) -> int:
    """Write sample keys of every type into a server, over nothing that is there."""
    from transfer.cli.commands.demo import run_demo_fill

    connect_ms, timeout_ms = waits_ms(waits)
    address = place(url, "target")
    return run_and_tell(
        "demo fill",
        talk,
        lambda: run_demo_fill(
            address, keys=_some(keys), seed=seed, connect_timeout_ms=connect_ms, timeout_ms=timeout_ms
        ),
    )


@app.command
def verify(
    url: Annotated[str, PLACE],
    /,
    *,
    waits: Waits = Waits(),  # noqa: B008 - frozen
    talk: Talk = Talk(),  # noqa: B008
    names: Names = Names(),  # noqa: B008
) -> int:
    """Compare the sample keys of a server with what their seed says."""
    from transfer.cli.commands.demo import run_demo_verify

    connect_ms, timeout_ms = waits_ms(waits)
    address, hashed = place(url, "target"), names.hash_keys
    return run_and_tell(
        "demo verify",
        talk,
        lambda: run_demo_verify(address, hash_keys=hashed, connect_timeout_ms=connect_ms, timeout_ms=timeout_ms),
    )


@app.command
def clear(
    url: Annotated[str, PLACE],
    /,
    *,
    waits: Waits = Waits(),  # noqa: B008 - frozen
    talk: Talk = Talk(),  # noqa: B008
) -> int:
    """Remove what `demo fill` wrote, and only that."""
    from transfer.cli.commands.demo import run_demo_clear

    connect_ms, timeout_ms = waits_ms(waits)
    address = place(url, "target")
    return run_and_tell(
        "demo clear", talk, lambda: run_demo_clear(address, connect_timeout_ms=connect_ms, timeout_ms=timeout_ms)
    )


def _some(keys: int) -> int:
    if keys < 1:
        raise UsageError(f"--keys: {keys} is less than 1", hint="--keys 200000")
    return keys
