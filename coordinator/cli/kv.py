"""The users' own keys: `kv get`, `put`, `del`, `txn`, `watch`, `usage` and `kv lease ...`.

A name that begins with `/` is a full one, any other stands below `/kv/`. Law: what is printed as a value is the value,
byte for byte, and a newline where a person reads it.
"""

import base64
import urllib.parse
from collections.abc import Iterator
from typing import Any

import click
import msgspec

from coordinator import errors
from coordinator.cli import answers_kv, client, exits, options, printing, session
from coordinator.host import grouping

KV = f"{client.ADMIN}/kv"
WAIT = "25s"
AGAIN_S = 1.0
SHOWN_CHARACTERS = 60  # of a value in a table
_PREFIX = click.option("--prefix", is_flag=True, help="Every key that starts with KEY.")
_STRUCTURED = ("json", "yaml")


@click.group(cls=grouping.Group)
def kv() -> None:
    """Your own keys, kept by the coordinator: linearizable, with watches and leases."""


@kv.command()
@click.argument("key", default="")
@_PREFIX
@click.option("--limit", type=click.IntRange(min=1), default=None, help="At most so many keys.")
@click.option("--rev", type=click.IntRange(min=1), default=None, help="As of this revision of the store.")
@click.option("--keys-only", is_flag=True, help="No values.")
@options.system
@printing.output("plain", "table", "value", "name", "json", "yaml")
def get(key: str, limit: int | None, rev: int | None, form: str, *, prefix: bool, keys_only: bool) -> int:
    """Read a key, or with --prefix all that start with it (every key, where none is named).

    Plain is the value of one key, and a table of several. Exit 1 where there is no such key.
    """
    shown = session.current()
    if not key and not prefix:
        raise errors.UsageError("name a key", hint="or all of them: tiercast kv get --prefix")
    pages = _pages(shown, {"key": key, "prefix": prefix, "keys_only": keys_only}, limit, rev or 0)
    found: list[answers_kv.Item] = []
    bodies: list[bytes] = []
    for page, body in pages:
        found += page.items
        bodies.append(body)
    if form in _STRUCTURED:
        whole = msgspec.json.decode(bodies[0])
        whole["items"] = [one for body in bodies for one in msgspec.json.decode(body)["items"]]
        whole["more"] = msgspec.json.decode(bodies[-1])["more"]
        shown.say(printing.structured(form, msgspec.json.encode(whole)) or "")
    elif form == "name" or keys_only:
        shown.say("\n".join(one.name for one in found)) if found else None
    elif form == "value" or (form == "plain" and not prefix):
        for one in found:
            _value(shown, one)
    else:
        shown.say_coloured(
            printing.table(("KEY", "VALUE", "REVISION", "VERSION", "LEASE"), [*map(_row, found)])
        )
    if not found and not prefix:
        shown.tell(f"no such key: {key}")
        return exits.Exit.UNEXPECTED
    return exits.Exit.OK


def _pages(
    shown: session.Session, wanted: dict[str, Any], limit: int | None, revision: int
) -> Iterator[tuple[answers_kv.Ranged, bytes]]:
    """All of one revision, as many as are wanted."""
    after, left, asked = "", limit, shown.client()
    while True:
        query = {
            **{
                name: str(value).lower() if isinstance(value, bool) else value
                for name, value in wanted.items()
            },
            "limit": left or 0,
            "revision": revision,
            "after": after,
        }
        answer = asked.call(client.Ask(path=f"{KV}/keys?{urllib.parse.urlencode(query)}"))
        page = answer.as_(answers_kv.Ranged)
        yield page, answer.body
        left = None if left is None else left - len(page.items)
        if not page.more or left == 0 or not page.items or page.items[-1].encoding:
            return
        after, revision = page.items[-1].key, page.revision


def _row(one: answers_kv.Item) -> tuple[str, ...]:
    value = one.data.decode("utf-8", "backslashreplace")
    cut = value if len(value) <= SHOWN_CHARACTERS else f"{value[:SHOWN_CHARACTERS]}… ({len(one.data)} bytes)"
    return one.name, cut, str(one.mod_revision), str(one.version), str(one.lease or "")


def _value(shown: session.Session, one: answers_kv.Item) -> None:
    shown.data(one.data)


@kv.command()
@click.argument("key")
@click.argument("value", required=False)
@click.option("--lease", type=click.IntRange(min=0), default=0, help="It ends with this lease.")
@options.system
@printing.output("plain", *_STRUCTURED)
def put(key: str, value: str | None, lease: int, form: str) -> int:
    """Set a key; the value is read from stdin where it is `-` or not given."""
    shown = session.current()
    data = shown.stdin.read() if value in {None, "-"} else value.encode()
    try:
        asked = {"key": key, "value": data.decode(), "lease": lease}
    except UnicodeDecodeError:
        coded = [base64.b64encode(part).decode() for part in (key.encode(), data)]
        asked = {"key": coded[0], "value": coded[1], "encoding": "base64", "lease": lease}
    answer = _post(shown, "put", asked)
    done = answer.as_(answers_kv.Done)
    shown.say(printing.structured(form, answer.body) or f"revision {done.revision}")
    return exits.Exit.OK


@kv.command("del")
@click.argument("key", default="")
@_PREFIX
@options.yes
@options.system
@printing.output("plain", *_STRUCTURED)
def delete(key: str, form: str, *, prefix: bool, yes: bool) -> int:
    """Delete a key, or with --prefix all that start with it; says how many there were."""
    shown = session.current()
    if not key and not prefix:
        raise errors.UsageError("name a key", hint="or all of them: tiercast kv del --prefix")
    if prefix and not yes and not shown.confirmed(f"delete every key that starts with {key or '/kv/'}?"):
        shown.tell("nothing was deleted")
        return exits.Exit.INTERRUPTED
    answer = _post(shown, "delete", {"key": key, "prefix": prefix})
    done = answer.as_(answers_kv.Done)
    count = sum(one.deleted for one in done.responses)
    shown.say(printing.structured(form, answer.body) or str(count))
    return exits.Exit.OK


@kv.command()
@click.argument("source", metavar="FILE", default="-", type=click.Path())
@options.system
@printing.output("plain", *_STRUCTURED)
def txn(source: str, form: str) -> int:
    """Several operations at one revision, under conditions: {"compare": [], "success": [], "failure": []} as JSON.

    For instance {"compare": [{"key": "lock", "target": "version", "relation": "=", "number": 0}],
    "success": [{"op": "put", "key": "lock", "value": "me"}], "failure": [{"op": "get", "key": "lock"}]}.
    Exit 0 whichever branch was done.
    """
    shown = session.current()
    try:
        text = shown.stdin.read() if source == "-" else click.open_file(source, "rb").read()
        asked = msgspec.json.decode(text, type=dict[str, Any])
    except OSError as wrong:
        raise errors.UsageError(
            f"cannot read {source}: {(wrong.strerror or str(wrong)).lower()}",
            hint="name a file, or - for stdin",
        ) from wrong
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise errors.UsageError(
            f"{source} is no JSON object: {wrong}", hint="tiercast kv txn --help"
        ) from wrong
    answer = _post(shown, "txn", asked)
    done = answer.as_(answers_kv.Done)
    structured = printing.structured(form, answer.body)
    shown.say(structured or "\n".join(_branch(done)))
    return exits.Exit.OK


def _branch(done: answers_kv.Done) -> Iterator[str]:
    yield f"{'success' if done.succeeded else 'failure'}, revision {done.revision}"
    if done.repeated:
        yield "it had been done before; what it read then is not kept"
    for one in done.responses:
        if one.op == "delete":
            yield f"delete: {one.deleted}"
        elif one.op == "put":
            yield "put: done"
        else:
            yield f"get: {printing.count(len(one.items), 'key')}"
            yield from (
                f"  {item.name} = {item.data.decode('utf-8', 'backslashreplace')}" for item in one.items
            )


@kv.command()
@click.argument("key", default="")
@_PREFIX
@click.option("--rev", type=click.IntRange(min=0), default=0, help="From this revision of the store on.")
@options.system
@printing.output("plain", "json")
def watch(key: str, rev: int, form: str, *, prefix: bool) -> int:
    """Print every change, until Ctrl-C; through a coordinator that restarts none is missed."""
    shown = session.current()
    if not key and not prefix:
        raise errors.UsageError("name a key", hint="or all of them: tiercast kv watch --prefix")
    asked = shown.client()
    try:
        while True:
            query = {
                "key": key,
                "prefix": str(prefix).lower(),
                "revision": rev,
                "wait": WAIT if rev else "0s",
            }
            try:
                path = f"{KV}/watch?{urllib.parse.urlencode(query)}"
                answer = asked.call(client.Ask(path=path, patient=False))
            except (errors.UnreachableError, client.ProblemError) as error:
                if exits.of_code(client.code_of(error)) is not exits.Exit.NO_COORDINATOR:
                    raise
                shown.progress(f"{error.message}; retrying")
                shown.sleep(AGAIN_S)
                continue
            told = answer.as_(answers_kv.Watched)
            if told.reset:
                shown.tell(
                    f"changes before revision {told.revision} are not kept any more: read the keys again"
                )
            for one in told.events:
                shown.say(_change(one) if form == "plain" else msgspec.json.encode(one).decode())
            rev = told.revision + 1
    except KeyboardInterrupt:
        return exits.Exit.INTERRUPTED


def _change(one: answers_kv.Event) -> str:
    head = f"{one.item.mod_revision}  {one.type:<6}  {one.item.name}"
    return head if one.type == "delete" else f"{head}  {one.item.data.decode('utf-8', 'backslashreplace')}"


@kv.command()
@options.system
@printing.output("plain", *_STRUCTURED)
def usage(form: str) -> int:
    """How much of their quota all keys take."""
    shown = session.current()
    answer = shown.client().call(client.Ask(path=f"{KV}/usage"))
    used = answer.as_(answers_kv.Usage)
    plain = (
        f"{used.keys} of {used.quota_keys} keys, {printing.size(used.size_bytes)} of "
        f"{printing.size(used.quota_bytes)}, revision {used.revision}"
    )
    shown.say(printing.structured(form, answer.body) or plain)
    return exits.Exit.OK


# --- leases -----------------------------------------------------------------------------------------------------------


@kv.group()
def lease() -> None:
    """Leases: keys that are put under one end with it."""


@lease.command()
@click.argument("ttl", type=options.Duration())
@options.system
@printing.output("plain", *_STRUCTURED)
def grant(ttl: float, form: str) -> int:
    """A lease that ends TTL (30s, 5m) after its last renewal; prints its id."""
    shown = session.current()
    answer = _post(shown, "leases", {"ttl_s": ttl})
    shown.say(printing.structured(form, answer.body) or str(answer.as_(answers_kv.Lease).lease))
    return exits.Exit.OK


@lease.command("keep-alive")
@click.argument("number", metavar="LEASE", type=click.IntRange(min=1))
@click.option("--once", is_flag=True, help="Renew it once.")
@options.system
def keep_alive(number: int, *, once: bool) -> int:
    """Renew a lease at a third of its time, until Ctrl-C."""
    shown = session.current()
    try:
        while True:
            kept = _post(shown, f"leases/{number}/keepalive").as_(answers_kv.Lease)
            shown.tell(f"lease {kept.lease} kept for {kept.ttl_s:g} s")
            if once:
                return exits.Exit.OK
            shown.sleep(kept.ttl_s / 3)
    except KeyboardInterrupt:
        return exits.Exit.INTERRUPTED


@lease.command()
@click.argument("number", metavar="LEASE", type=click.IntRange(min=1))
@options.system
def revoke(number: int) -> int:
    """End a lease now, with its keys."""
    shown = session.current()
    _post(shown, f"leases/{number}/revoke")
    shown.tell(f"lease {number} has ended, and its keys with it")
    return exits.Exit.OK


@lease.command("list")
@options.system
@printing.output("table", "name", *_STRUCTURED)
def list_leases(form: str) -> int:
    """All leases, and what is left of each."""
    shown = session.current()
    answer = shown.client().call(client.Ask(path=f"{KV}/leases"))
    held = answer.as_(answers_kv.Leases).leases
    structured = printing.structured(form, answer.body)
    if structured is not None:
        shown.say(structured)
    elif form == "name":
        shown.say("\n".join(str(one.lease) for one in held))
    else:
        rows = [(str(one.lease), f"{one.ttl_s:g} s", f"{one.left_s:.1f} s", one.holder) for one in held]
        shown.say_coloured(printing.table(("LEASE", "TTL", "LEFT", "HOLDER"), rows))
    return exits.Exit.OK


def _post(shown: session.Session, path: str, asked: dict[str, Any] | None = None) -> client.Answer:
    """Without a body where the path says everything."""
    body = b"" if asked is None else msgspec.json.encode(asked)
    ask = client.post(f"{KV}/{path}", body, shown.random.token(16))
    return shown.client().call(ask)
