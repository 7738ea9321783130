"""Devices and processes that work on one run together."""
