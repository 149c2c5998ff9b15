"""etcd's v3 API over the users' keys, for etcdctl and existing clients: an optional listener of the active MIC.

Only translation stands here; what may be done and what it means is decided in `tiers.kv`. Nothing of this package is
loaded unless a `mic` role names an `etcd_port`, and it needs the extra `[etcd-api]`.
"""
