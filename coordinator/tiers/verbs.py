"""The table of MIC's verbs: the request each takes, and what does it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import msgspec

from coordinator import errors
from coordinator.tiers import (
    applying,
    auditing,
    carrying,
    census,
    desk,
    enrolling,
    entering,
    following,
    joining,
    kv,
    kv_leases,
    leaving,
    library,
    lists,
    passes,
    people,
    preparing,
    renewing,
    requests,
    requests_joining,
    requests_kv,
    requests_looking,
    requests_people,
    requests_preparing,
    sight,
    views,
)

Verb = Callable[[desk.Desk, desk.Caller, bytes], Awaitable[msgspec.Struct]]
"""The request as JSON in, the answer out; raises `TiercastError`."""

_Asked = TypeVar("_Asked", bound=msgspec.Struct)


def _verb(
    kind: type[_Asked], act: Callable[[desk.Desk, desk.Caller, _Asked], Awaitable[msgspec.Struct]]
) -> Verb:
    async def done(at: desk.Desk, caller: desk.Caller, body: bytes) -> msgspec.Struct:
        try:
            asked = msgspec.json.decode(body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
            raise errors.UsageError(f"the request cannot be used: {wrong}") from wrong
        return await act(at, caller, asked)

    return done


_V = requests.Verb

VERBS: Mapping[requests.Verb, Verb] = {
    _V.UPLOAD: _verb(requests.Upload, library.upload),
    _V.VALIDATE: _verb(requests.Validate, library.validate),
    _V.PLAN: _verb(requests.Plan, applying.plan),
    _V.APPLY: _verb(requests.Apply, applying.apply),
    _V.ROLLBACK: _verb(requests.Rollback, applying.rollback),
    _V.PREPARE: _verb(requests.Apply, preparing.prepare),
    _V.WITHDRAW: _verb(requests_preparing.Withdraw, preparing.withdraw),
    _V.PREPARED: _verb(requests_preparing.Look, preparing.look),
    _V.ROLLOUT: _verb(requests.WaitRollout, views.rollout),
    _V.STATUS: _verb(requests.Status, sight.status),
    _V.DESCRIBE: _verb(requests.Describe, sight.describe),
    _V.HISTORY: _verb(requests.History, library.history),
    _V.SHOW: _verb(requests.Show, library.show),
    _V.KV_GET: _verb(requests_kv.Range, kv.get),
    _V.KV_PUT: _verb(requests_kv.Put, kv.put),
    _V.KV_DELETE: _verb(requests_kv.Delete, kv.delete),
    _V.KV_TXN: _verb(requests_kv.Txn, kv.txn),
    _V.KV_WATCH: _verb(requests_kv.Watch, kv.watch),
    _V.KV_USAGE: _verb(requests_kv.Nothing, kv.usage),
    _V.KV_GRANT: _verb(requests_kv.Grant, kv_leases.grant),
    _V.KV_KEEPALIVE: _verb(requests_kv.LeaseAsked, kv_leases.keep_alive),
    _V.KV_REVOKE: _verb(requests_kv.LeaseAsked, kv_leases.revoke),
    _V.KV_LEASES: _verb(requests_kv.Nothing, kv_leases.listed),
    _V.ENROLL: _verb(requests.Enroll, enrolling.enroll),
    _V.LINE_CREATE: _verb(requests_joining.CreateLine, joining.create),
    _V.LINES: _verb(requests_joining.ListLines, joining.lines),
    _V.LINE_REVOKE: _verb(requests_joining.RevokeLine, joining.revoke),
    _V.ACCEPT: _verb(requests_joining.Accept, joining.accept),
    _V.EXPEL: _verb(requests_joining.Expel, leaving.expel),
    _V.DRAFTS: _verb(requests_looking.Drafts, library.drafts),
    _V.SERVERS: _verb(requests_looking.Servers, lists.servers),
    _V.NODES: _verb(requests_looking.Nodes, lists.nodes),
    _V.ROLES: _verb(requests_looking.Roles, lists.roles),
    _V.DIFF: _verb(requests_looking.Diff, following.differ),
    _V.EVENTS: _verb(requests_looking.Events, following.events),
    _V.STATE: _verb(requests_looking.State, lists.state),
    _V.LOGIN: _verb(requests_people.Login, entering.login),
    _V.CLAIM: _verb(requests_people.Claim, entering.claim),
    _V.LOGOUT: _verb(requests_people.Logout, entering.logout),
    _V.PEOPLE: _verb(requests_people.ListPeople, people.listed),
    _V.PERSON_ADD: _verb(requests_people.AddPerson, people.add),
    _V.PERSON_REMOVE: _verb(requests_people.RemovePerson, people.remove),
    _V.PERSON_ROLE: _verb(requests_people.SetRole, people.set_role),
    _V.PERSON_PASSWORD: _verb(requests_people.SetPassword, people.set_password),
    _V.TOKENS: _verb(requests_people.ListTokens, passes.listed),
    _V.TOKEN_CREATE: _verb(requests_people.CreateToken, passes.create),
    _V.TOKEN_REVOKE: _verb(requests_people.RevokeToken, passes.revoke),
    _V.DOMAINS: _verb(requests_people.ListDomains, census.listed),
    _V.ATTACH: _verb(requests_people.Attach, census.attach),
    _V.DETACH: _verb(requests_people.Detach, census.detach),
    _V.DOMAIN_EXPORT: _verb(requests_people.ExportDomain, carrying.export),
    _V.DOMAIN_IMPORT: _verb(requests_people.ImportDomain, carrying.take),
    _V.AUDIT: _verb(requests_people.ListAudit, auditing.listed),
}
"""All but `whoami`, which needs the person and nothing else."""

PROVEN: Mapping[requests_joining.Proven, Verb] = {
    requests_joining.Proven.JOIN: joining.join,
    requests_joining.Proven.LEAVE: leaving.leave,
    requests_joining.Proven.RENEW: renewing.renew,
}
"""Those that carry their own proof; they read their body themselves."""
