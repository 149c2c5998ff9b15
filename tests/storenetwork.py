"""Network namespaces for the members of a group, on a switch of their own that leads nowhere else. Needs root.

Which member can send to which is cut by routes into nowhere: packets vanish, connections hang, nobody is told.
"""

import itertools
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

_NUMBERS = itertools.count()


class Network:
    """One namespace for each name."""

    def __init__(self, names: Sequence[str]) -> None:
        self._tag = f"tcs{os.getpid()}n{next(_NUMBERS)}"
        self.hosts = {name: f"10.91.0.{number}" for number, name in enumerate(names, 1)}
        self._cut: set[tuple[str, str]] = set()

    def __enter__(self) -> Self:
        switch = f"{self._tag}-switch"
        try:
            _ip([f"netns add {switch}", *(f"netns add {self._space(name)}" for name in self.hosts)])
            _ip(["link add switch type bridge", "link set switch up"], switch)
            for name, host in self.hosts.items():
                space = self._space(name)
                veth = f"link add {name} type veth peer name wire netns {space}"
                _ip([veth, f"link set {name} master switch up"], switch)
                _ip(["link set lo up", f"addr add {host}/24 dev wire", "link set wire up"], space)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for space in (f"{self._tag}-switch", *map(self._space, self.hosts)):
            subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)

    def inside(self) -> Mapping[str, Sequence[str]]:
        """What a program of each is started by."""
        return {name: ("ip", "netns", "exec", self._space(name)) for name in self.hosts}

    def cut(self, pairs: Iterable[tuple[str, str]]) -> None:
        """From here on the first of each pair reaches the second no more."""
        new = set(pairs) - self._cut
        self._routes("add", new)
        self._cut |= new

    def apart(self, some: Iterable[str]) -> None:
        """These and all others cannot reach each other."""
        ours = set(some)
        others = set(self.hosts) - ours
        self.cut([(a, b) for a in ours for b in others] + [(b, a) for a in ours for b in others])

    def heal(self) -> None:
        self._routes("del", self._cut)
        self._cut.clear()

    def _routes(self, act: str, pairs: Iterable[tuple[str, str]]) -> None:
        for name in self.hosts:
            lost = [self.hosts[to] for sender, to in pairs if sender == name]
            if lost:
                _ip([f"route {act} blackhole {host}/32" for host in lost], self._space(name))

    def _space(self, name: str) -> str:
        return f"{self._tag}-{name}"


def _ip(lines: Sequence[str], space: str | None = None) -> None:
    words = ["ip"] if space is None else ["ip", "-n", space]
    subprocess.run(
        [*words, "-batch", "-"], input="\n".join(lines), text=True, check=True, capture_output=True
    )
