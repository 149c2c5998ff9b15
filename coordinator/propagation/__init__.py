"""One idea: a hop is a watch. A child mirrors its parent's `/config` prefix, acts on it, and writes its ack key back.

The contract between every machine of this package and the shell that drives it, in the order of acts:

1. The shell calls `handle(input, now)` with one input of `events.Input`; `now` is monotonic seconds.
2. It performs the returned outputs in their order. `Store` is performed durably before anything later in the order;
   when it is durable the shell calls `handle(Stored(ticket), now)`.
3. It calls `handle(Tick(), now)` no later than `deadline`; earlier calls do no harm.
4. A machine never waits, logs, reads a clock, draws a random number or touches a socket. Where jitter is due it says
   how long a delay may be, and the shell draws.

Pure by rule (import-linter): of `trust` it knows `trust.signing` alone.
"""
