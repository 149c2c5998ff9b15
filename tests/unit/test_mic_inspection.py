"""What `store check` says of a store's content: nothing where MIC wrote it, and the place where somebody changed it."""

import anyio
import pytest

from coordinator import names
from coordinator.store import port
from coordinator.tiers import inspection, keys
from tests import builders, micworld


async def _items(world: micworld.World) -> tuple[port.KeyValue, ...]:
    served, _tree = await world.open()
    code, _answer = await world.apply(served, builders.document())
    assert code == ""
    return (await world.store.scan(b"")).items


def items() -> tuple[port.KeyValue, ...]:
    return anyio.run(_items, WORLD)


WORLD = micworld.World()


def test_what_mic_wrote_has_no_findings_and_an_empty_store_has_none_either() -> None:
    found = inspection.inspect(items(), micworld.CLUSTER)
    assert found.findings == ()
    assert found.version == names.Version(1, 2)
    assert found.bodies == 2
    assert inspection.inspect((), micworld.CLUSTER).findings == ()


@pytest.mark.parametrize(
    ("prefix", "word"),
    [
        (keys.TARGET, "/config/target"),
        (keys.TRUST, "/config/trust"),
        (keys.RECORDS, "/config/records/"),
        (keys.ADMISSIONS, "/config/admission/"),
        (inspection.BODIES, "/config/bodies/"),
        (keys.ROLLOUTS, "/rollouts/"),
        (keys.TERM, "/private/term"),
    ],
)
def test_a_changed_value_is_named_by_its_key(prefix: bytes, word: str) -> None:
    bent = []
    once = True
    for item in items():
        if once and item.key.startswith(prefix):
            once = False
            value = item.value[: len(item.value) // 2] + b"\xc1" + item.value[len(item.value) // 2 + 1 :]
            bent.append(port.KeyValue(item.key, value[:-1], 1, 1, 1))
        else:
            bent.append(item)
    found = inspection.inspect(bent, micworld.CLUSTER)
    assert any(word in finding for finding in found.findings), found.findings


def test_what_is_missing_or_misplaced_is_told() -> None:
    held = items()
    without = [item for item in held if not item.key.startswith(inspection.BODIES)]
    assert any("has no document" in one for one in inspection.inspect(without, micworld.CLUSTER).findings)
    target = next(item for item in held if item.key == keys.TARGET)
    swapped = [
        port.KeyValue(item.key, target.value, 1, 1, 1) if item.key == keys.record(1) else item
        for item in held
    ]
    assert any("belongs at" in one for one in inspection.inspect(swapped, micworld.CLUSTER).findings)
    assert inspection.inspect(held, names.ClusterId("other")).findings
