"""Agents that are used without this package."""
