"""What runs on every server: ServerShell (the root process), its worker nodes (BasedRole) and the roles in them."""
