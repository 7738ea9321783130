"""Effects: devices, emulators, files, signals."""
