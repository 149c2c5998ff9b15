"""What of the content a child may see, and which frames of its may have an effect: deny by default.

Every child may greet, show signs of life, say what it lacks and ask (which verbs, is each tier's own table).
"""

import enum


class Scope(enum.StrEnum):
    """What of the content a child may see."""

    EVERYTHING = "everything"
    SERVER = "server"
    """target, record, trust, its own admission"""
    PARKED = "parked"
    """trust and its own admission"""
    NODE = "node"
    """target, record, trust; no admission"""
    NOTHING = "nothing"
    """asks only"""


PULLS = frozenset({Scope.EVERYTHING, Scope.SERVER, Scope.NODE})
"""May read bodies."""
ACKS = frozenset({Scope.SERVER, Scope.PARKED, Scope.NODE})
"""May say how far it is."""
OFFERS = frozenset({Scope.EVERYTHING, Scope.SERVER, Scope.PARKED})
"""May show newer signed objects than ours; one that is parked now may have been anything before."""
ROLLS_UP = frozenset({Scope.EVERYTHING})
"""May speak of others: whom it is believed about, the one above decides."""
