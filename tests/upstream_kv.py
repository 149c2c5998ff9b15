"""What a MIC that answers from a table says of the users' keys."""

from typing import Any

from coordinator.tiers import requests, requests_kv

ITEM = requests_kv.Item(
    key="/kv/app/leader", value="n1", create_revision=41, mod_revision=42, version=2, lease=7
)
LEASE = requests_kv.Lease(lease=7, ttl_s=10.0, left_s=8.5, holder="admin")
GOOD: dict[str, Any] = {
    requests.Verb.KV_GET: requests_kv.Ranged(revision=42, items=(ITEM,)),
    requests.Verb.KV_PUT: requests_kv.Done(revision=43, responses=(requests_kv.Response(op="put"),)),
    requests.Verb.KV_DELETE: requests_kv.Done(
        revision=44, responses=(requests_kv.Response(op="delete", deleted=2),)
    ),
    requests.Verb.KV_TXN: requests_kv.Done(
        revision=45,
        succeeded=False,
        responses=(requests_kv.Response(op="get", items=(ITEM,)), requests_kv.Response(op="put")),
    ),
    requests.Verb.KV_WATCH: requests_kv.Watched(
        revision=42, events=(requests_kv.Event(type="put", item=ITEM),)
    ),
    requests.Verb.KV_USAGE: requests_kv.Usage(
        revision=42, keys=3, size_bytes=2048, quota_keys=500_000, quota_bytes=268_435_456
    ),
    requests.Verb.KV_GRANT: LEASE,
    requests.Verb.KV_KEEPALIVE: LEASE,
    requests.Verb.KV_REVOKE: requests_kv.Ended(lease=7),
    requests.Verb.KV_LEASES: requests_kv.Leases(leases=(LEASE,)),
}
