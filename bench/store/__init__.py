"""How fast the store keeps what it is given, beside etcd on the same disk, durably on both."""
