"""Our own system as the conductor stands it up: MIC, an IC per site, and the agents, each in processes of their own."""

import sys

from bench.propagation import ground, program, programs, roster, stand
from coordinator.trust import tokens

LINKED_S = 60.0
ANY_PORT = "0"
IC = "ic"
WATCHED = "watched"


class Tiercast:
    """See the module."""

    name = "tiercast"
    flat = False
    lacks = "in mode propagation agents take signatures unverified and keep no ledger; relays do both"

    def __init__(self) -> None:
        self.mic_port = ANY_PORT
        self.ports: list[str] = []

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
        made.loop, made.prepares = heard["loop"], True
        relays = [
            made.add(IC, await _start(f"ic{n}", "ic", order, str(n), str(heard["port"]), ANY_PORT))
            for n in range(order.sites)
        ]
        self.mic_port = str(heard["port"])
        self.ports = [str((await one.hear())["port"]) for one in relays]
        ports = ",".join(self.ports)
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

    async def again(self, number: int, order: stand.Order, made: stand.Stand) -> programs.Program:
        """A new process in the place of an IC that has ended, with its ledger and at its port; its lag is watched."""
        started = await _start(
            f"ic{number}", "ic", order, str(number), self.mic_port, self.ports[number], WATCHED
        )
        made.programs[IC][number] = started
        await started.hear()
        return started


async def _start(name: str, module: str, order: stand.Order, *arguments: str) -> programs.Program:
    argv = (sys.executable, "-m", f"bench.propagation.{module}", str(order.directory), *arguments)
    loop = {program.LOOP: order.loop} if order.loop else {}
    return await programs.start(name, argv, order.directory, loop)
