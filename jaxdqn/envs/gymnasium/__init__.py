"""Environments that are registered with Gymnasium, such as a user's own."""
