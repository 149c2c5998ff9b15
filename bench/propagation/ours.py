"""Our own system as the conductor stands it up: MIC, an IC per site, and the agents, each in processes of their own."""

import sys

from bench.propagation import ground, programs, roster, stand
from coordinator.trust import tokens

LINKED_S = 60.0


class Tiercast:
    """See the module."""

    name = "tiercast"
    lacks = "in mode propagation agents take signatures unverified and keep no ledger; relays do both"

    def missing(self) -> str:
        return ""

    async def start(self, order: stand.Order, made: stand.Stand) -> None:
        told = roster.make(
            sites=order.sites,
            agents=order.agents,
            tls=order.tls,
            wall=ground.CLOCK.wall(),
            token=tokens.new_token(ground.RANDOM),
        )
        roster.save(told, order.directory)
        mic = made.add(stand.PUBLISHER, await _start("mic", "mic", order))
        heard = await mic.hear()
        made.loop = heard["loop"]
        relays = [
            made.add("ic", await _start(f"ic{n}", "ic", order, str(n), str(heard["port"])))
            for n in range(order.sites)
        ]
        ports = ",".join([str((await one.hear())["port"]) for one in relays])
        crowds = [
            made.add(
                stand.AGENTS,
                await _start(f"agents{n}", "agents", order, str(first), str(last), ports, order.mode),
            )
            for n, (first, last) in enumerate(order.shares())
        ]
        for crowd in crowds:
            await crowd.hear()
        await mic.ask({"converged": True}, LINKED_S)
        made.hops = {"mic-ic": (stand.PUBLISHER, "out"), "ic-agent": (stand.AGENTS, "in")}


async def _start(name: str, module: str, order: stand.Order, *arguments: str) -> programs.Program:
    argv = (sys.executable, "-m", f"bench.propagation.{module}", str(order.directory), *arguments)
    return await programs.start(name, argv, order.directory)
