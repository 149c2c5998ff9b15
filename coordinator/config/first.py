"""The basic document: what a system is before anybody has written one.

One site of type `master`, one server, and on it MIC, DC and WS. `server init` signs it as generation 1, revision 1.
"""

from coordinator import names
from coordinator.config import kinds, model


def basic_document(  # a document has no smaller statement than who, where and for whom
    *,
    server: names.ServerName,
    address: str,
    site: names.SiteName,
    master_domain: str,
    fqdn: str,
) -> model.Document:
    """One server that coordinates itself; there is no IC, so its ServerShell subscribes to MIC."""
    roles = {
        names.RoleName(f"{kind}1"): model.Role(type=kind, order=1) for kind in (kinds.MIC, kinds.DC, kinds.WS)
    }
    return model.Document(
        schema=model.SCHEMA,
        general=model.General(master_domain=master_domain),
        domains={master_domain: model.Domain(fqdn=fqdn)},
        sites={site: model.Site(type="master", domains=(master_domain,))},
        servers={server: model.Server(interfaces={"lan": address})},
        roles=roles,
        structure={site: {server: tuple(roles)}},
    )
