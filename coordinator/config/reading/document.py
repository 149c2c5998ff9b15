"""From texts to a document: bounds, encoding, syntax, shape, and with a catalogue the static rules, all at once.

Plain functions of bytes, so that a coordinator can run them in a child process: a large text takes seconds.
Law: either a document, or at least one finding that is an error; never an exception, whatever the bytes.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from coordinator import limits, role
from coordinator.config import findings, model, shape, validation
from coordinator.config.reading import joining, json_text, marks, yaml_text

_RULE_OF_MISSING = {"schema": "S01", "general": "S02", "master_domain": "S02"}

_STAND_INS: dict[str, Any] = {
    "schema": model.SCHEMA,
    "general": {"master_domain": ""},
    "master_domain": "",
    "interfaces": {},
    "fqdn": "",
    "type": "communication",
}
"""Of required keys that are missing or wrong, so that the rest of the document can be judged all the same."""


class Source(msgspec.Struct, frozen=True):
    """One file, as it is."""

    name: str
    data: bytes


class Reading(msgspec.Struct, frozen=True):
    """What was read. A document may be there and still break static rules: see `valid`."""

    document: model.Document | None
    findings: tuple[findings.Finding, ...]
    texts: dict[str, str]
    """Decoded, by name of the source; comments kept."""

    @property
    def valid(self) -> bool:
        """Whether there is a document without errors."""
        return self.document is not None and not findings.invalid(self.findings)

    @property
    def text(self) -> str:
        """All of what was written; several files follow each other, each under its name."""
        if len(self.texts) == 1:
            return next(iter(self.texts.values()))
        return "\n".join(f"# {name}\n{text}" for name, text in self.texts.items())


def read(sources: Sequence[Source]) -> Reading:
    """The document in these texts, judged by S00 and the bound on size alone."""
    return _reading(sources, lambda _document: ())


def check(sources: Sequence[Source], catalogue: role.Catalogue) -> Reading:
    """The document in these texts, judged by all static rules; every finding with its place."""
    return _reading(sources, lambda document: validation.validate(document, catalogue))


def _reading(
    sources: Sequence[Source], judge: Callable[[model.Document], tuple[findings.Finding, ...]]
) -> Reading:
    found = findings.Findings()
    texts = _texts(sources, found)
    whole = _Whole(texts, found)
    value = whole.value()
    if value is None:
        return Reading(None, _by_place(found.result()), texts)
    document, faults, guessed = _shaped(value)
    for fault in faults:
        rule = _RULE_OF_MISSING.get(fault.missing, "S00")
        found.add(
            whole.placed(
                findings.Finding(rule, "error", fault.path, fault.message, fault.hint), key=fault.at_key
            )
        )
    broken = findings.invalid(found.result())
    if document is not None:
        for finding in _unrelated(judge(document), guessed):
            found.add(whole.placed(finding))
    return Reading(None if broken else document, _by_place(found.result()), texts)


def _texts(sources: Sequence[Source], found: findings.Findings) -> dict[str, str]:
    size = sum(len(source.data) for source in sources)
    if size > limits.DOCUMENT_BYTES:
        found.error("S19", (), f"the document is too large (got {size} bytes, have {limits.DOCUMENT_BYTES})")
        return {}
    if not sources:
        found.error("S00", (), "there is no document", "name a file or a folder with *.yaml files")
    texts = {}
    for source in sources:
        try:
            texts[source.name] = source.data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            before = source.data[: error.start]
            line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
            message = f"not UTF-8 (the byte 0x{source.data[error.start]:02x})"
            hint = "save the file as UTF-8"
            found.add(findings.Finding("S00", "error", (), message, hint, source.name, line, column))
    return texts


class _Whole:
    """The joined texts; marks of a single JSON text are made when the first finding asks for them."""

    def __init__(self, texts: dict[str, str], found: findings.Findings) -> None:
        self._texts = texts
        self._found = found
        self._mark: marks.Mark | None = None

    def value(self) -> dict[str, Any] | None:
        if len(self._texts) == 1:
            ((_, text),) = self._texts.items()
            if json_text.looks_like(text):
                try:
                    return json_text.parse(text)
                except json_text.NotStrictError:
                    pass  # read again below, by the reader that says where
        part = self._part(self._found)
        self._mark = part.mark if part else None
        return part.value if part else None

    def placed(self, finding: findings.Finding, *, key: bool = False) -> findings.Finding:
        """The finding with its place; one from a text has it already."""
        if self._mark is None:
            part = self._part(findings.Findings())
            self._mark = part.mark if part else marks.Mark(next(iter(self._texts)), 1, 1)
        place = marks.locate(self._mark, finding.path, key=key)
        return msgspec.structs.replace(finding, file=place.file, line=place.line, column=place.column)

    def _part(self, found: findings.Findings) -> joining.Part | None:
        parts = []
        for name, text in self._texts.items():
            source = yaml_text.Text(name, text, found)
            parsed = yaml_text.parse(source)
            if parsed is not None and not isinstance(parsed[0], dict):
                source.wrong(None, "a document is a map", "its first line is usually schema: tiercast/1")
            elif parsed is not None:
                parts.append(joining.Part(*parsed))
        return joining.joined(parts, found) if parts else None


def _shaped(value: dict[str, Any]) -> tuple[model.Document | None, list[shape.Fault], list[findings.Path]]:
    """The document, what does not fit, and where the document was mended so that the rest could be judged."""
    try:
        return msgspec.convert(value, model.Document), [], []
    except msgspec.ValidationError:
        faults = list(itertools.islice(shape.faults(value, model.Document), limits.FINDINGS))
    if len(faults) == limits.FINDINGS:
        return None, faults, []
    rest: Any = value
    for path in sorted({fault.path for fault in faults if not fault.missing}, key=len, reverse=True):
        rest = _replaced(rest, path)
    mended = [fault.path for fault in faults if not fault.at_key and not fault.missing]
    for fault in list(itertools.islice(shape.faults(rest, model.Document), limits.FINDINGS)):
        if fault.missing in _STAND_INS:
            mended.append((*fault.path, fault.missing))
            rest = _replaced(rest, mended[-1], _STAND_INS[fault.missing])
    try:
        return msgspec.convert(rest, model.Document), faults, mended
    except msgspec.ValidationError:
        return None, faults, mended


def _replaced(value: Any, path: findings.Path, by: Any = msgspec.UNSET) -> Any:  # noqa: ANN401 plain data of any shape
    """`value` with another value at a path, or with nothing there; an item of a list cannot be taken away."""
    if not path:
        return {} if by is msgspec.UNSET else by
    part, below = path[0], path[1:]
    if isinstance(value, dict) and isinstance(part, str):
        rest = {key: item for key, item in value.items() if key != part}
        if below or by is not msgspec.UNSET:
            rest[part] = _replaced(value.get(part), below, by)
        return rest
    if isinstance(value, list) and isinstance(part, int) and below:
        return [_replaced(item, below, by) if index == part else item for index, item in enumerate(value)]
    return value


def _unrelated(
    judged: Sequence[findings.Finding], wrong: Sequence[findings.Path]
) -> Iterator[findings.Finding]:
    """Findings that do not follow from values that had to be left out; then warnings may all do."""
    for finding in judged:
        if not wrong or (
            finding.severity == "error" and not any(_touch(finding.path, path) for path in wrong)
        ):
            yield finding


def _touch(one: findings.Path, other: findings.Path) -> bool:
    shared = min(len(one), len(other))
    return one[:shared] == other[:shared]


def _by_place(found: Sequence[findings.Finding]) -> tuple[findings.Finding, ...]:
    return tuple(sorted(found, key=lambda one: (one.severity, one.file, one.line, one.column, one.rule)))
