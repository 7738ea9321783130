"""The ring of experience on the device: what it stores, and what is drawn from it."""
