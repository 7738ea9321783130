"""Games of the Arcade Learning Environment, played by its own vector of emulators."""
