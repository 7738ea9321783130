"""Vectorized environments; every quirk of an emulator ends here."""
