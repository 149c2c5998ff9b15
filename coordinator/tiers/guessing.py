"""How often passwords were tried, kept in the store for the next MIC: else whoever brings about a change of MIC guesses anew.

One small value, written a moment after a wrong try, however many there were; what is under way is never held up by it.
Law: of the tries that a MIC has counted, its successor counts all but those of its last `KEEP_S` seconds, as far as they fit
(`tries.KEPT_MOST`).
"""

import anyio
import msgspec

from coordinator import errors
from coordinator.domains import tries
from coordinator.host import logs
from coordinator.store import commands
from coordinator.tiers import desk, entries, keys

KEEP_S = 2.0

_LOG = logs.Log("mic")


async def recall(at: desk.Desk) -> None:
    """What the MIC before this one has counted. Raises what the store raises."""
    item = await at.store.get(keys.TRIES)
    if item is None:
        return
    try:
        kept = entries.TRIED.decode(item.value)
    except msgspec.DecodeError as wrong:  # not worth an office: `store check` names it
        _LOG.warning("tries not recalled", reason=str(wrong))
        return
    now, ago_s = at.clock.monotonic(), at.clock.wall() - kept.wall
    at.gate.tries.restore(tries.Kept(kept.spent, kept.entered), now, ago_s)


async def keep(at: desk.Desk) -> None:
    """While this MIC is in office."""
    written = at.gate.tries.marks
    while at.office is not None and at.fallen is None:
        await anyio.sleep(KEEP_S)
        marks = at.gate.tries.marks
        if marks == written or at.recovery:
            continue
        try:
            await _write(at)
            written = marks
        except errors.TiercastError as problem:
            _LOG.warning("tries not kept", reason=problem.message)


async def _write(at: desk.Desk) -> None:
    held = at.gate.tries.kept(at.clock.monotonic())
    put = commands.put(
        keys.TRIES, msgspec.msgpack.encode(entries.Tried(at.clock.wall(), held.spent, held.entered))
    )
    async with at.turn:
        await at.commit(desk.Change((put,), at.past))
