"""The edge where people write: YAML or JSON with positions, read strictly. Never imported by nodeagent."""

from coordinator.config.reading.document import Reading, Source, check, read
from coordinator.config.reading.files import files

__all__ = ["Reading", "Source", "check", "files", "read"]
