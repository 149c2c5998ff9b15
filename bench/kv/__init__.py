"""What the users' keys and the local watch cost."""
