"""Measurements and the demonstration; one module per question, in the wheel."""
