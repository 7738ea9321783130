"""Agents for use without this package."""
