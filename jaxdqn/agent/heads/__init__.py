"""What the outputs of a network mean, and the loss on them: one file for each head."""
