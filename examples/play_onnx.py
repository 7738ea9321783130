"""Plays with ONNX Runtime: play_onnx.py EXPORT_FOLDER NUM_GAMES SEED."""

import playing


def load(file, policy):
    """Returns the network: observations [B, S, ...] -> action values [B, A]."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file)
    return lambda observation: session.run(["q_values"], {"observation": observation})[0]


if __name__ == "__main__":
    playing.main("onnx", load)
