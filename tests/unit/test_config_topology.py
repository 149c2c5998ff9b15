from typing import Any

import pytest

from coordinator import limits, names
from coordinator.config import expansion, first, topology, validation
from tests import builders

C1, N1 = names.ServerName("c1"), names.ServerName("n1")
NORTH = names.SiteName("north")


def expanded(change: Any = lambda _plain: None) -> expansion.Expanded:
    return expansion.expand(builders.bent(change))


def names_of(made: expansion.Expanded, server: names.ServerName) -> list[str]:
    return [node.name for node in topology.nodes(made, server)]


def role_of(made: expansion.Expanded, name: str) -> expansion.PlacedRole:
    return made.roles[names.RoleName(name)]


def test_mic_is_alone_core_roles_share_and_every_other_has_its_own() -> None:
    made = expanded()
    assert names_of(made, C1) == ["dc1+icc1+ws1@10.1.0.11", "mic1@10.1.0.11"]
    assert names_of(made, N1) == ["icn1@10.2.0.11", "web1@10.2.0.11"]


def test_roles_with_one_label_share_a_node_and_a_separate_one_does_not() -> None:
    def change(plain: Any) -> None:
        plain["roles"] |= {name: {"type": "greeter", "node": "pair"} for name in ("b", "a")}
        plain["roles"]["icc1"]["separate"] = True
        plain["roles"]["mic1"]["node"] = "pair"
        plain["structure"]["central"]["c1"] += ["b", "a"]

    assert names_of(expanded(change), C1) == [
        "a+b@10.1.0.11",
        "dc1+ws1@10.1.0.11",
        "icc1@10.1.0.11",
        "mic1@10.1.0.11",
    ]


def test_a_disabled_role_is_in_no_node() -> None:
    made = expanded(lambda plain: plain["roles"]["web1"].update(enabled=False))
    assert names_of(made, N1) == ["icn1@10.2.0.11"]
    assert "web1" in made.roles


def test_a_long_name_is_bounded_and_still_of_this_set_of_roles_alone() -> None:
    roles = [names.RoleName(f"{'x' * 50}{number}") for number in range(9)]
    long = topology.node_name(roles, "10.1.0.11")
    other = topology.node_name(roles[:-1], "10.1.0.11")
    assert len(long) <= limits.NODE_NAME_CHARACTERS
    assert long != other
    assert long.endswith("@10.1.0.11")
    assert long == topology.node_name(list(reversed(roles)), "10.1.0.11")


def test_a_server_looks_for_its_ics_then_mic_then_shells_of_its_site_then_all() -> None:
    def change(plain: Any) -> None:
        plain["servers"] |= {
            "n2": {"interfaces": {"lan": "10.2.0.12"}},
            "c2": {"interfaces": {"lan": "10.1.0.12"}},
        }
        plain["roles"]["icn0"] = {"type": "ic", "order": 2, "params": {"port": 9000}}
        plain["structure"]["north"]["n2"] = ["icn0"]
        plain["structure"]["central"]["c2"] = []

    tried = topology.parents(expanded(change), N1)
    assert [(one.kind, one.server, one.port) for one in tried] == [
        ("ic", "n1", limits.PORT_IC),
        ("ic", "n2", 9000),
        ("mic", "c1", limits.PORT_MIC),
        ("shell", "n2", limits.PORT_SHELL),
        ("shell", "c1", limits.PORT_SHELL),
        ("shell", "c2", limits.PORT_SHELL),
    ]


def test_places_to_try_are_bounded() -> None:
    made = expansion.expand(builders.large(sites=2, servers=100, roles=1))
    assert len(topology.parents(made, names.ServerName("s1-5"))) == topology.PARENTS


def test_an_ic_finds_mic_and_serves_its_site() -> None:
    made = expanded()
    assert [(one.kind, one.server, one.role) for one in topology.coordinator_parents(made)] == [
        ("mic", "c1", "mic1")
    ]
    assert topology.site_of_ic(made, N1) == "north"
    assert (
        topology.site_of_ic(expanded(lambda plain: plain["roles"]["icn1"].update(enabled=False)), N1) is None
    )


def test_a_place_names_site_and_control_address() -> None:
    document = builders.bent(
        lambda plain: plain["servers"].update(
            n1={"interfaces": {"a": "10.2.0.1", "b": "10.2.0.2"}, "control": "b"}
        )
    )
    place = topology.place(document, N1)
    assert place is not None
    assert (place.site, place.control_address) == ("north", "10.2.0.2")
    assert topology.shell_name(place) == "n1@10.2.0.2"
    assert topology.place(document, names.ServerName("x9")) is None
    assert topology.servers_of(document, NORTH) == ("n1",)
    assert topology.servers_of(document, names.SiteName("nowhere")) == ()


def test_the_basic_document_is_valid_and_its_server_subscribes_to_mic() -> None:
    document = first.basic_document(
        server=C1,
        address="10.1.0.11",
        site=names.SiteName("central"),
        master_domain="acme",
        fqdn="acme.example",
    )
    made = expansion.expand(document)
    assert validation.validate(document, builders.CATALOGUE) == ()
    assert names_of(made, C1) == ["dc1+ws1@10.1.0.11", "mic1@10.1.0.11"]
    assert [one.kind for one in topology.parents(made, C1)] == ["mic"]


@pytest.mark.parametrize(
    ("own", "shown"),
    [
        ({}, {"command": ["a", "b"], "files": {"x": "1", "y": "2"}, "reload": "SIGHUP"}),
        ({"command": ["c"]}, {"command": ["c"], "files": {"x": "1", "y": "2"}, "reload": "SIGHUP"}),
        (
            {"files": {"y": "3", "z": "4"}, "reload": None},
            {"command": ["a", "b"], "files": {"x": "1", "y": "3", "z": "4"}},
        ),
        ({"files": None}, {"command": ["a", "b"], "reload": "SIGHUP"}),
    ],
)
def test_a_role_merges_its_params_over_those_of_its_template(own: Any, shown: Any) -> None:
    base = {"command": ["a", "b"], "files": {"x": "1", "y": "2"}, "reload": "SIGHUP"}
    document = builders.document(
        templates={"web": {"type": "process", "params": base, "separate": True}},
        roles={"web1": {"like": "web", "params": own, "separate": False}},
    )
    placed = role_of(expansion.expand(document), "web1")
    assert (placed.type, placed.params, placed.separate) == ("process", shown, False)


def test_aliases_are_replaced_and_those_of_the_server_go_first() -> None:
    params = {
        "command": ["x", "--data=alias://paths/data/db", "alias://paths/run"],
        "files": {"f": "{files}"},
    }

    def change(plain: Any) -> None:
        plain["aliases"] = {"paths": {"data": "/var/lib/acme", "run": "/run"}}
        plain["servers"]["n1"]["paths"] = {"data": "/srv"}
        plain["roles"] |= {
            "web1": {"type": "process", "params": params},
            "web2": {"type": "process", "params": params},
        }
        plain["structure"]["central"]["c1"].append("web2")

    made = expanded(change)
    assert role_of(made, "web1").params["command"] == ["x", "--data=/srv/db", "/run"]
    assert role_of(made, "web2").params["command"] == ["x", "--data=/var/lib/acme/db", "/run"]
    assert role_of(made, "web2").params["files"] == {"f": "{files}"}


def test_a_template_that_uses_an_alias_of_a_server_is_replaced_for_each_server() -> None:
    def change(plain: Any) -> None:
        plain["aliases"] = {"paths": {"data": "/var"}}
        plain["templates"] = {"t": {"type": "process", "params": {"command": ["alias://paths/data"]}}}
        plain["servers"]["n1"]["paths"] = {"data": "/srv"}
        plain["roles"] |= {"web1": {"like": "t"}, "web2": {"like": "t"}}
        plain["structure"]["central"]["c1"].append("web2")

    made = expanded(change)
    assert (role_of(made, "web1").params["command"], role_of(made, "web2").params["command"]) == (
        ["/srv"],
        ["/var"],
    )


def test_expansion_is_total_where_references_do_not_resolve() -> None:
    document = builders.document(
        roles={"a": {"like": "gone"}, "b": {}},
        structure={"nowhere": {"nobody": ["a", "c", "a"]}},
    )
    made = expansion.expand(document)
    assert role_of(made, "a").server == "nobody"
    assert role_of(made, "a").address == ""
    assert role_of(made, "b").server is None
