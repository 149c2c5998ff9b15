"""What is loaded at run time. lint-imports reads the imports; this asks a fresh interpreter what they brought in.

A worker node is one of many on a server and the command line starts anew each time: neither may pay for pydantic
(118 ms, 20 MiB), yaml or aiohttp (215 ms).
"""

import subprocess
import sys

from tests.tidy import tree

HEAVY = ("pydantic", "yaml", "aiohttp")
PROBE = """
import importlib, sys
heavy = sys.argv[1].split(",")
for module in sys.argv[2:]:
    importlib.import_module(module)
    loaded = [name for name in heavy if name in sys.modules]
    if loaded:
        sys.exit(f"{module} loads {', '.join(loaded)}")
"""


def modules(folder: str) -> list[str]:
    """Every module below a folder, by its dotted name; `__main__` runs when imported and is left out."""
    paths = [path.relative_to(tree.ROOT).with_suffix("") for path in tree.python_files(folder)]
    names = {".".join(path.parts).removesuffix(".__init__") for path in paths}
    return sorted(name for name in names if not name.endswith(".__main__"))


def complaint(names: list[str], heavy: tuple[str, ...] = HEAVY) -> str:
    """Of a fresh interpreter that imports them one after the other; empty where all is well."""
    probe = [sys.executable, "-c", PROBE, ",".join(heavy), *names]
    done = subprocess.run(probe, cwd=tree.ROOT, capture_output=True, text=True, timeout=60, check=False)
    return done.stderr.strip() if done.returncode else ""


def test_no_module_of_a_worker_node_loads_what_is_heavy() -> None:
    assert complaint(modules("nodeagent")) == ""


def test_a_worker_node_verifies_signatures_and_knows_no_certificates() -> None:
    """X.509 costs 2 MiB in each; a node has a Unix socket and no TLS."""
    assert complaint(["nodeagent.main.node"], ("cryptography.x509", "coordinator.trust.authority")) == ""


def test_the_command_line_starts_without_what_is_heavy() -> None:
    start = [name for name in modules("coordinator/cli") if name == "coordinator.cli.main"]
    assert complaint(start) == ""


def test_a_role_type_is_looked_up_without_what_is_heavy() -> None:
    types = [name for name in modules("coordinator/runtime") if name == "coordinator.runtime.types"]
    types += [name for name in modules("nodeagent/roles") if name.endswith("_type")]
    assert complaint(types) == ""
