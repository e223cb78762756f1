"""The command door: `lotgate`."""
