"""The four core role types as every part that reads a document must know them; light to import.

The implementations come in with `load`, in the node that runs one.
"""

from collections.abc import Callable
from typing import Any

from coordinator import limits, role
from coordinator.config import kinds


def _load_mic() -> Callable[[], role.Role]:
    from coordinator.runtime import mic  # noqa: PLC0415 only the node that runs one pays for it

    return mic.MicRole


def _load_ic() -> Callable[[], role.Role]:
    from coordinator.runtime import ic  # noqa: PLC0415 as above

    return ic.IcRole


def _load_dc() -> Callable[[], role.Role]:
    from coordinator.runtime import dc  # noqa: PLC0415 as above

    return dc.DcRole


def _load_ws() -> Callable[[], role.Role]:
    from coordinator.runtime import ws  # noqa: PLC0415 as above

    return ws.WsRole


def _port(params: Any) -> tuple[int, ...]:  # noqa: ANN401 the type's own params
    return (params.port,)


def _mic_ports(params: Any) -> tuple[int, ...]:  # noqa: ANN401 as above
    etcd = () if params.etcd_port is None else (params.etcd_port,)
    return (params.port, limits.PORT_RAFT, *etcd)


def _stateful(_params: role.Params) -> bool:
    return True


MIC = role.RoleType(kinds.MIC, kinds.MicParams, _load_mic, ports=_mic_ports)
IC = role.RoleType(kinds.IC, kinds.IcParams, _load_ic, stateful=_stateful, ports=_port)
DC = role.RoleType(kinds.DC, kinds.DcParams, _load_dc, stateful=_stateful)
WS = role.RoleType(kinds.WS, kinds.WsParams, _load_ws, ports=_port)
