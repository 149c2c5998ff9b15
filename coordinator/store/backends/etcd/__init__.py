"""A real etcd cluster as the store, through its JSON gateway (docs/decisions/0012-etcd-through-its-gateway.md).

Reading order: `access` (where it is), `keys` (what stands where), `messages` (the gateway's language), `transactions`
(ours in it), `large` (what one request cannot carry), `refusals` (what etcd answers instead); these are pure. Then
`members` (endpoints), `gateway` (one call, whatever happens), `reading`, `watching`, `store` (the port), `keeping`
(beginnings and ends). Nothing is imported here: whoever wants the address alone gets no HTTP client with it.
"""
