"""The static rules S01-S19: everything that is wrong with a document by itself, all of it at once.

S00, the text, is the business of `config.reading`; rules of change (D1-D12) are that of `config.transition`.
Law: the verdict depends on the document and the catalogue alone, and never raises, whatever the document says.
"""

from collections.abc import Callable

from coordinator import limits, role
from coordinator.config import findings, model, rules_names, rules_params, rules_places, scope

_RULES: tuple[Callable[[scope.Scope, findings.Findings], None], ...] = (
    rules_names.bounds,  # first: it is told even where there are more findings than are kept
    rules_params.overrides,
    rules_names.schema,
    rules_names.master_domain,
    rules_names.names_of_things,
    rules_places.one_master,
    rules_names.structure,
    rules_names.unused,
    rules_places.interfaces,
    rules_params.types,
    rules_params.aliases,
    rules_places.mics,
    rules_places.ics,
    rules_places.dcs,
    rules_places.orders,
    rules_names.ids,
    rules_places.addresses,
    rules_params.params,
    rules_places.domains,
    rules_places.requirements,
)


def validate(document: model.Document, catalogue: role.Catalogue) -> tuple[findings.Finding, ...]:
    """Errors, then warnings, each by rule and path; at most `limits.FINDINGS`. Valid where none is an error."""
    found = findings.Findings()
    try:
        judged = scope.of(document, catalogue)
    except (
        RecursionError,
        ValueError,
    ):  # of nesting, or of text that is no Unicode; nothing else can be said then
        found.error(
            "S19",
            (),
            f"the document cannot be carried (nested deeper than {limits.NESTING}, or half characters)",
        )
        return found.result()
    for rule in _RULES:
        rule(judged, found)
    return found.result()
