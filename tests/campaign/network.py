"""N rows: connections that break, stall, trickle or lie."""

from __future__ import annotations

from tests.campaign.bench import Bench, need
from tests.campaign.cases import case
from tests.faults import Corrupt, Delay, Rate, Reset, Split, Stall, Swallow

KEYS = 2000
BOTH = ("source", "target")


@case("S14", "a clean run: no finding, no conflict, no warning", 500)
def clean(bench: Bench) -> None:
    source, target = bench.pair()
    bench.fill(source, KEYS)
    run = bench.copy(source, target)
    bench.good(run, source, target)
    need(not run.of("warning"), "a warning in a clean run:", run.of("warning"))


@case("N1", "one to four RST after random replies, source or target or both", 1000)
def reset(bench: Bench) -> None:
    source, target = bench.pair()
    bench.fill(source, KEYS)
    foreign = bench.plant(target) if bench.seed % 3 == 0 else None
    sides = (("source",), ("target",), BOTH)[bench.chance.randrange(3)]

    def strike() -> None:
        for side in sides:
            for _ in range(bench.chance.choice((1, 1, 2, 4))):
                bench.proxies.arm(side, Reset(after_messages=bench.chance.randrange(1, 3000)))

    run = bench.copy(source, target, *_consent(foreign), via=sides, on_plan=strike)
    bench.facts["fired"] = sum(bench.proxies.fired(side) for side in sides)
    bench.good(run, source, target, foreign=foreign)
    need(run.result["restarts"] == 0, "a reset is no restart:", run.told())


@case("N2", "one to three replies of the target, or requests to it, swallowed, then RST", 500)
def swallow(bench: Bench) -> None:
    source, target = bench.pair()
    bench.fill(source, KEYS)
    foreign = bench.plant(target) if bench.seed % 2 else None

    def strike() -> None:
        for _ in range(bench.chance.choice((1, 1, 2, 3))):
            count = bench.chance.choice((1, 1, 2, 5))
            side = bench.chance.choice(("replies", "replies", "requests"))
            at = bench.chance.randrange(1, 2500)
            bench.proxies.arm("target", Swallow(side=side, after_messages=at, count=count))  # type: ignore[arg-type]

    form = ("--format", "logical") if bench.chance.random() < 0.3 else ()
    words = ("--timeout", "1s", *form, *_consent(foreign))  # fewer replies than are swallowed: it waits for the rest
    run = bench.copy(source, target, *words, via=("target",), on_plan=strike)
    bench.facts["fired"] = bench.proxies.fired("target")
    bench.good(run, source, target, foreign=foreign)


@case("N3", "a connection goes silent for good (half-open): --timeout 1s, noticed within 2 s", 100, slow=True)
def half_open(bench: Bench) -> None:
    source, target = bench.pair()
    bench.fill(source, KEYS)
    side = BOTH[bench.seed % 2]
    stall = Stall(after_messages=bench.chance.randrange(1, 1800))
    run = bench.copy(
        source, target, "--timeout", "1s", via=(side,), on_plan=lambda: bench.proxies.arm(side, stall), limit_s=30
    )
    bench.facts["fired"] = bench.proxies.fired(side)
    bench.good(run, source, target)
    need(run.seconds < 2 + 2.5, f"{run.seconds:.1f} s: noticed too late")  # a plain run is about a second


@case("N4", "a slow target: 300 kB/s and 5 ms a reply, or SIGSTOP for 1.5 s", 50, slow=True)
def slow(bench: Bench) -> None:
    import time

    source, target = bench.pair()
    bench.fill(source, KEYS)
    if bench.seed % 2:
        faults = (Rate(300_000, side="requests"), Delay(5))
        run = bench.copy(source, target, via=("target",), on_plan=lambda: bench.proxies.arm("target", *faults))
    else:
        woken: list[float] = []

        def stop() -> None:
            target.pause()
            woken.append(time.monotonic() + 1.5)

        def step() -> None:
            if woken and time.monotonic() > woken[0]:
                woken.clear()
                target.go_on()
            time.sleep(0.01)

        try:
            run = bench.copy(source, target, via=("target",), on_plan=stop, step=step)
        finally:
            target.go_on()
    bench.good(run, source, target)
    need(run.result["keys"]["repeated"] == 0, "sent twice, though nothing was lost:", run.result["keys"])


@case("N5", "replies or requests in pieces of one to three bytes", 50, slow=True)
def trickle(bench: Bench) -> None:
    source, target = bench.pair()
    bench.fill(source, 300)
    side = BOTH[bench.seed % 2]
    way = ("replies", "requests")[bench.seed // 2 % 2]
    split = Split(bench.chance.choice((1, 1, 3)), side=way)  # type: ignore[arg-type]
    run = bench.copy(source, target, via=(side,), on_plan=lambda: bench.proxies.arm(side, split))
    bench.good(run, source, target)


@case("N6", "one byte of the source's replies or of the requests to the target changed in flight", 300)
def corrupt(bench: Bench) -> None:
    source, target = bench.pair()
    bench.fill(source, KEYS)
    side, way = (("source", "replies"), ("target", "requests"))[bench.seed % 2]
    fault = Corrupt(after_bytes=bench.chance.randrange(1, 200_000), side=way)  # type: ignore[arg-type]
    run = bench.copy(
        source, target, "--timeout", "1s", "--give-up-after", "4s",
        via=(side,), on_plan=lambda: bench.proxies.arm(side, fault), limit_s=40,
    )  # fmt: skip
    bench.facts["fired"], bench.facts["exit"] = bench.proxies.fired(side), run.exit
    if run.exit == 0:
        bench.equal(source, target)
    else:
        target.empty()
        bench.converges(source, target)


def _consent(foreign: object) -> tuple[str, ...]:
    return ("--allow", "nonempty-target") if foreign is not None else ()
