"""Three real members of etcd, killed and frozen at random under clients that never stop; what they saw is judged."""

import pathlib

import pytest

from tests import etcdcluster, etcdlife

pytestmark = [pytest.mark.integration, pytest.mark.etcd, pytest.mark.anyio]


async def test_what_clients_see_of_a_disturbed_etcd_is_one_order(tmp_path: pathlib.Path, seed: int) -> None:
    with etcdcluster.running(tmp_path / "c", 3) as cluster:
        counts, wrong = await etcdlife.life(cluster, seed, rounds=3)
    assert not wrong
    assert len(counts.acknowledged) > 50
