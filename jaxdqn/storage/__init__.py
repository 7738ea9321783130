"""Bytes that are on disk whole or not at all. Nothing here knows what they mean."""
