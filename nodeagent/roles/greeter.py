"""The role `greeter`: answers every TCP connection with `<greeting> from <role> revision <r>` and closes it.

A new greeting is taken hot, a new port by a restart. The revision is the one its server has accepted.
"""

import anyio
import anyio.abc

from coordinator import limits, role
from nodeagent.roles import durations, greeter_params, ports

WRITE_TIMEOUT_S = 5.0


class GreeterRole:
    """One listener on the role's address."""

    def __init__(self) -> None:
        self._params: greeter_params.GreeterParams | None = None
        self._context: role.Context | None = None
        self._listener: anyio.abc.Listener[anyio.abc.SocketStream] | None = None
        self._serving = anyio.CancelScope()
        self._closed = anyio.Event()
        self._report = role.Report(role.Health.STOPPED)

    async def start(self, params: greeter_params.GreeterParams, context: role.Context) -> None:
        """Raises RoleRefusedError: `port_taken`, `address_missing`, `cannot_listen`."""
        self._params, self._context = params, context
        try:
            self._listener = await anyio.create_tcp_listener(
                local_host=context.address, local_port=params.port, backlog=limits.LISTEN_BACKLOG
            )
        except OSError as error:
            raise ports.refusal(error, context.address, params.port) from error
        self._report = role.Report(role.Health.PROGRESSING, "starting", f"healthy after {params.delay}")
        context.background(self._serve)
        if durations.seconds(params.delay) > 0:
            context.background(self._warm_up)
        else:
            self._report = role.Report(role.Health.HEALTHY)

    async def apply(
        self, old: greeter_params.GreeterParams, new: greeter_params.GreeterParams
    ) -> role.Applied:
        """A greeting hot, a port by restart."""
        if old.port != new.port:
            return role.RestartNeeded(f"port {old.port} -> {new.port}")
        self._params = new
        return role.AppliedHot()

    async def configured(self, view: role.View) -> None:
        """The next answer names the new revision by itself."""

    async def stop(self) -> None:
        """Return once the port is free; answers under way are cut."""
        self._report = role.Report(role.Health.STOPPED)
        self._serving.cancel()
        if self._listener is not None:
            await self._closed.wait()

    def report(self) -> role.Report:
        return self._report

    async def _warm_up(self) -> None:
        assert self._params is not None
        assert self._context is not None
        await anyio.sleep(durations.seconds(self._params.delay))
        self._report = role.Report(role.Health.HEALTHY)
        self._context.changed()

    async def _serve(self) -> None:
        assert self._listener is not None
        try:
            async with self._listener:
                with self._serving:
                    await self._listener.serve(self._greet)
        finally:
            self._closed.set()

    async def _greet(self, stream: anyio.abc.SocketStream) -> None:
        async with stream:
            with anyio.move_on_after(WRITE_TIMEOUT_S):
                try:
                    await stream.send(self._line())
                except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                    return  # the caller has gone; nobody is left to greet

    def _line(self) -> bytes:
        assert self._params is not None
        assert self._context is not None
        revision = self._context.view().version.revision
        return f"{self._params.greeting} from {self._context.role} revision {revision}\n".encode()
