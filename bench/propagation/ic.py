"""An IC of a bench in a process of its own: the product's relay, with its ledger on the disk, signatures verified."""

import pathlib
import sys

from bench.propagation import ground, lag, program, roster
from coordinator.hop import ledger
from coordinator.host import disk
from coordinator.propagation import asks, bodies, events, messages, mirror, relay, subscriber
from coordinator.trust import signing


async def work(line: program.Line) -> None:
    """Arguments: directory, number, MIC's port, its own (0: any), `watched` for its lag. Questions: `report`, `lag`."""
    directory, number, port = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    told = roster.load(directory / roster.FILE)
    me = subscriber.Me(told.cluster, messages.ChildKind.IC, roster.relay_role(number), told.relay(number))
    keyring = signing.Keyring.trusting(told.seed.trust, told.cluster)
    book = ledger.Ledger(disk.DirectoryDisk(directory / f"ic{number}"))
    content = mirror.from_ledger({mirror.TRUST_KEY: told.seed.trust, **book.load().objects}, keyring)
    shelf, body = bodies.Shelf(), book.body(content.digest)
    if body is not None:
        shelf.add(content.digest, body)
    machine = relay.Relay(me, content, shelf, lambda _body: None)

    def perform(output: object) -> None:
        match output:
            case asks.Asked(link, ask):
                driver.act(machine.answer(link, ask, "not_allowed", b"", ground.CLOCK.monotonic()))
            case _:
                pass

    driver = ground.driven(machine, told, me.server_id, perform, book)
    server = await driver.listen(roster.ADDRESS, int(sys.argv[4]))
    driver.start()
    parent = events.Parent(roster.MIC, roster.ADDRESS, port)
    driver.act(machine.follow((parent,), ground.CLOCK.monotonic()))
    line.say(port=server.port)
    late = lag.Lag() if sys.argv[5:] else None
    while (question := await line.next()) is not None:
        if "lag" in question and late is not None:
            line.say(**late.told())
        else:
            line.say(traffic=ground.traffic(driver.traffic))
    await driver.close("the bench is over")


if __name__ == "__main__":
    program.run(work)
