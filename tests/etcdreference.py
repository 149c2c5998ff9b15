"""Real etcd as its own client sees it: a program that performs one history a line, and answers what came of each step.

It runs in a process of its own: the stubs that `etcd3` carries (2020) are read by the pure Python implementation of protobuf
alone, which is chosen by the environment. Nothing of the product is imported here.
"""

import base64
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

TARGETS = ("CREATE", "MOD", "VERSION", "VALUE", "LEASE")
RELATIONS = ("EQUAL", "NOT_EQUAL", "LESS", "GREATER")
FIELDS = ("create_revision", "mod_revision", "version", "value", "lease")
CODES = {
    "duplicate key given": "duplicate_key",
    "requested lease not found": "lease_gone",
    "has been compacted": "compacted",
    "is a future revision": "compacted",
}

Step = Sequence[Any]


class Reference:
    """One cluster; each history below a prefix of its own."""

    def __init__(self, port: int) -> None:
        import etcd3  # noqa: PLC0415 its import needs the environment of this very process
        from etcd3 import etcdrpc  # noqa: PLC0415

        self._rpc = etcdrpc
        self._client = etcd3.client(host="127.0.0.1", port=port, timeout=10)
        self._prefix = b""
        self._base = 0
        self._leases: dict[int, int] = {}

    def history(self, prefix: str, steps: Sequence[Step]) -> list[Any]:
        """What came of each; revisions count from the one before the first."""
        self._prefix = prefix.encode()
        self._leases = {}
        self._base = self._client.kvstub.Range(self._rpc.RangeRequest(key=b"\0"), 10).header.revision
        return [self._tried(step) for step in steps]

    def _tried(self, step: Step) -> Any:
        import grpc  # noqa: PLC0415 as above

        try:
            return getattr(self, f"_{step[0]}")(*step[1:])
        except grpc.RpcError as wrong:
            details = str(wrong.details())
            return ["error", next((code for text, code in CODES.items() if text in details), details)]

    def _txn(self, compare: Sequence[Step], success: Sequence[Step], failure: Sequence[Step]) -> Any:
        asked = self._rpc.TxnRequest(
            compare=[self._compare(*one) for one in compare],
            success=[self._operation(*one) for one in success],
            failure=[self._operation(*one) for one in failure],
        )
        answer = self._client.kvstub.Txn(asked, 10)
        done = [self._done(one) for one in answer.responses]
        return ["txn", answer.succeeded, answer.header.revision - self._base, done]

    def _compare(self, key: str, target: int, relation: int, operand: Any) -> Any:
        value = base64.b64decode(operand) if target == 3 else self._number(target, operand)
        return self._rpc.Compare(
            key=self._key(key),
            target=getattr(self._rpc.Compare, TARGETS[target]),
            result=getattr(self._rpc.Compare, RELATIONS[relation]),
            **{FIELDS[target]: value},
        )

    def _number(self, target: int, operand: int) -> int:
        if target == 4:
            return self._leases.get(operand, operand)
        return operand + self._base if operand > 0 and target < 2 else operand

    def _operation(self, kind: str, key: str, *more: Any) -> Any:
        name = self._key(key)
        if kind == "put":
            lease = self._leases.get(more[1], 12345) if more[1] else 0
            put = self._rpc.PutRequest(key=name, value=base64.b64decode(more[0]), lease=lease)
            return self._rpc.RequestOp(request_put=put)
        end = self._key(more[0]) if more[0] else b""
        if kind == "delete":
            gone = self._rpc.DeleteRangeRequest(key=name, range_end=end)
            return self._rpc.RequestOp(request_delete_range=gone)
        read = self._rpc.RangeRequest(key=name, range_end=end, limit=more[1])
        return self._rpc.RequestOp(request_range=read)

    def _done(self, response: Any) -> Any:
        match response.WhichOneof("response"):
            case "response_put":
                return ["put"]
            case "response_delete_range":
                return ["delete", response.response_delete_range.deleted]
            case _:
                return self._ranged(response.response_range)

    def _ranged(self, found: Any) -> Any:
        names = {real: ours for ours, real in self._leases.items()}
        items = [
            [
                base64.b64encode(item.key[len(self._prefix) :]).decode(),
                base64.b64encode(item.value).decode(),
                item.create_revision - self._base,
                item.mod_revision - self._base,
                item.version,
                names.get(item.lease, item.lease),
            ]
            for item in found.kvs
        ]
        return ["range", items, found.more]

    def _scan(self, start: str, end: str, revision: int) -> Any:
        asked = self._rpc.RangeRequest(
            key=self._key(start), range_end=self._key(end), revision=revision + self._base if revision else 0
        )
        return self._ranged(self._client.kvstub.Range(asked, 10))

    def _compact(self, revision: int) -> Any:
        self._client.kvstub.Compact(self._rpc.CompactionRequest(revision=revision + self._base), 10)
        return ["done"]

    def _grant(self, number: int, ttl_s: int) -> Any:
        self._leases[number] = self._client.leasestub.LeaseGrant(
            self._rpc.LeaseGrantRequest(TTL=ttl_s), 10
        ).ID
        return ["done"]

    def _keep(self, number: int) -> Any:
        asked = iter([self._rpc.LeaseKeepAliveRequest(ID=self._leases[number])])
        answer = next(iter(self._client.leasestub.LeaseKeepAlive(asked, 10)))
        return ["done"] if answer.TTL > 0 else ["error", "lease_gone"]

    def _revoke(self, number: int) -> Any:
        self._client.leasestub.LeaseRevoke(self._rpc.LeaseRevokeRequest(ID=self._leases[number]), 10)
        return ["done"]

    def _key(self, key: str) -> bytes:
        return self._prefix + base64.b64decode(key)


def main(port: str) -> None:
    """Answer each line until there is no more."""
    reference = Reference(int(port))
    for line in sys.stdin:
        asked: Mapping[str, Any] = json.loads(line)
        print(json.dumps(reference.history(asked["prefix"], asked["steps"])), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
