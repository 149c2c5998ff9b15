"""People of two domains at a MIC of the memory store: made by the verbs themselves, known by their tokens."""

import datetime as dt
from typing import Any

from coordinator.config import model
from coordinator.domains import people
from coordinator.tiers import mic, requests, requests_people
from tests import builders, micworld

Verb = requests.Verb
WORDS = "correct horse battery"
OTHER_WORDS = "staple apple orchard"
MASTER, BRANCH = "acme", "branch"


class World(micworld.World):
    """With a document of two domains in force."""

    async def begun(self) -> tuple[mic.Mic, micworld.Tree]:
        served, tree = await self.open()
        code, answer = await self.apply(served, builders.document())
        assert code == "", answer
        return served, tree

    async def add(self, served: mic.Mic, name: str, role: str = "viewer", **more: Any) -> None:
        """A person with the password `WORDS`."""
        how = {key: more.pop(key) for key in ("token",) if key in more}
        asked = requests_people.AddPerson(name=name, role=role, **{"password": WORDS, **more})
        code, answer = await self.ask(served, Verb.PERSON_ADD, asked, **how)
        assert code == "", answer

    async def new_token(self, served: mic.Mic, name: str, domain: str = "", **more: Any) -> str:
        """An API token of theirs, made by the first administrator."""
        asked = requests_people.CreateToken(name=name, domain=domain, **more)
        code, answer = await self.ask(served, Verb.TOKEN_CREATE, asked)
        assert code == "", answer
        return str(answer["token"])

    async def login(self, served: mic.Mic, name: str, domain: str = "", **more: Any) -> Any:
        """(code, answer) of somebody without a token."""
        source = {key: more.pop(key) for key in ("source",) if key in more}
        asked = requests_people.Login(name=name, domain=domain, **{"password": WORDS, **more})
        return await self.ask(served, Verb.LOGIN, asked, token="", **source)

    async def who(self, served: mic.Mic, token: str) -> Any:
        code, answer = await self.ask(served, Verb.WHOAMI, token=token)
        return code or answer

    async def entered(self, served: mic.Mic, name: str, domain: str, rank: people.Rank) -> str:
        """A new person of that rank, and a token of theirs."""
        await self.add(served, name, rank.word, domain=domain)
        return await self.new_token(served, name, domain)


def without_branch() -> model.Document:
    def bend(plain: Any) -> None:
        del plain["domains"][BRANCH]
        for site in plain["sites"].values():
            site["domains"] = [one for one in site.get("domains", []) if one != BRANCH] or [MASTER]
        plain["domains"]["far"] = {"fqdn": "far.example"}
        plain["sites"]["north"]["domains"] = ["far"]

    return builders.bent(bend)


def moved(role: str, site: str, server: str) -> model.Document:
    """The document with a role elsewhere."""

    def bend(plain: Any) -> None:
        for servers in plain["structure"].values():
            for placed in servers.values():
                if role in placed:
                    placed.remove(role)
        plain["structure"][site][server].append(role)

    return builders.bent(bend)


def override() -> model.Override:
    """Of any rule, for a few days of the test's clock."""
    return model.Override("a test", "admin", dt.date(2023, 11, 20))
