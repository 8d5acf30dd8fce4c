"""What people do to torch models: each function evaluates an activation in the way of its entry in capabilities.toml."""
