"""Parameters of the role types that come with a node."""

from typing import Any

import msgspec
import pytest

from coordinator.host import catalogue
from nodeagent.roles import durations, greeter_params, greeter_type, process_params, process_type


def params(**given: Any) -> process_params.ProcessParams:
    return msgspec.convert({"command": ["/bin/true"], **given}, process_params.ProcessParams)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"command": []}, "`$.command`"),
        ({"command": [""]}, "first word of command is empty"),
        ({"command": "/bin/true"}, "`$.command`"),
        ({"comand": []}, "unknown field `comand`"),
        ({"directory": "etc"}, "directory is not absolute"),
        ({"files": {"../nginx.conf": ""}}, "not a plain name"),
        ({"files": {"/etc/passwd": ""}}, "not a plain name"),
        ({"files": {"a/b": ""}}, "not a plain name"),
        ({"files": {"..": ""}}, "not a plain name"),
        ({"files": {".hidden": ""}}, "not a plain name"),
        ({"files": {"a\n": ""}}, "not a plain name"),
        ({"files": {"": ""}}, "not a plain name"),
        ({"environment": {"A=B": "c"}}, "not a name for an environment variable"),
        ({"reload": "SIGNOTHING"}, "no such signal (got 'SIGNOTHING')"),
        ({"ready": {}}, "exactly one of tcp, exec, after (got none)"),
        ({"ready": {"tcp": 80, "after": "1s"}}, "exactly one of tcp, exec, after (got tcp, after)"),
        ({"ready": {"tcp": 65536}}, "`$.ready.tcp`"),
        ({"ready": {"exec": []}}, "ready.exec is empty"),
        ({"ready": {"after": "soon"}}, "`$.ready.after`"),
        ({"stop": {"signal": "TERM"}}, "no such signal"),
        ({"stop": {"timeout": "5m"}}, "stop.timeout is too long (got 5m, have 40s)"),
    ],
)
def test_parameters_that_do_not_fit_are_refused_with_the_reason(given: dict[str, Any], said: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        params(**given)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"), [("500ms", 0.5), ("1s", 1.0), ("1.5s", 1.5), ("5m", 300.0), ("2h", 7200.0)]
)
def test_durations_are_a_number_with_a_unit(text: str, expected: float) -> None:
    assert durations.seconds(text) == expected


@pytest.mark.parametrize("text", ["", "5", "s", "-1s", "1 s", "1d", "1s\n"])
def test_other_durations_are_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        durations.seconds(text)


def test_only_a_change_of_files_with_a_reload_signal_is_hot() -> None:
    old = params(files={"a": "1"}, reload="SIGHUP")
    assert process_params.hot(old, params(files={"a": "2", "b": "3"}, reload="SIGHUP"))
    assert not process_params.hot(old, params(files={"a": "2"}))
    assert not process_params.hot(old, params(files={"a": "2"}, reload="SIGUSR1"))
    assert not process_params.hot(old, params(files={"a": "2"}, reload="SIGHUP", directory="/tmp"))
    assert not process_params.hot(params(files={"a": "1"}), params(files={"a": "2"}))


def test_the_probed_port_is_the_port_of_the_role() -> None:
    assert process_type.TYPE.ports(params(ready={"tcp": 8080})) == (8080,)
    assert process_type.TYPE.ports(params()) == ()
    assert process_type.TYPE.stateful(params(stateful=True))
    assert not process_type.TYPE.stateful(params())


def test_a_greeting_is_one_line_and_taken_hot_and_a_port_is_not() -> None:
    old = greeter_params.GreeterParams(port=8080)
    assert greeter_type.TYPE.hot(old, greeter_params.GreeterParams(port=8080, greeting="hi"))
    assert not greeter_type.TYPE.hot(old, greeter_params.GreeterParams(port=8081))
    assert greeter_type.TYPE.ports(old) == (8080,)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"port": 8080, "greeting": "a\nb"}, greeter_params.GreeterParams)


def test_both_types_are_found_by_entry_point_and_have_a_schema() -> None:
    known = catalogue.load()
    assert {"process", "greeter"} <= set(known)
    for name in ("process", "greeter"):
        assert known[name].params_schema()  # type: ignore[index]
