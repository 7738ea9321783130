"""Games of Gymnasium for `playing.py`."""

import gymnasium
import numpy as np


class Games:
    """Games side by side that show what the network was trained with."""

    def __init__(self, env_id, options, settings, num_games, seed):
        self.grey = settings["grayscale"]
        self.size = settings["img_width"], settings["img_height"]
        self.seeds = [seed + i for i in range(num_games)]
        self.envs = gymnasium.vector.SyncVectorEnv(
            [lambda: gymnasium.make(env_id, **options) for _ in self.seeds]
        )
        self.space = self.envs.single_observation_space

    def reset(self):
        """Begins all games."""
        observation, info = self.envs.reset(seed=self.seeds)
        return self.see(observation), info

    def step(self, actions):
        """Plays a step of each game."""
        actions = actions + self.envs.single_action_space.start
        observation, reward, *others = self.envs.step(actions)
        return self.see(observation), reward.astype(np.float32), *others

    def see(self, observation):
        """Numbers as vectors with a 1 in their place, images with their channels first."""
        if isinstance(self.space, gymnasium.spaces.Discrete):
            return np.eye(self.space.n, dtype=np.float32)[observation - self.space.start]
        shape, dtype = self.space.shape, self.space.dtype
        is_image = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))
        is_small = dtype == np.uint8 and self.space.high.max() < 255  # no pixels
        if dtype == np.uint8 and is_image and not is_small:
            return np.stack([self.image(pixels) for pixels in observation])
        is_kept = dtype.itemsize <= 4 and dtype.kind != "b" and not is_small
        numbers = observation if is_kept else observation.astype(np.float32)
        return numbers.reshape(len(numbers), *(shape or (1,)))  # a single number is a vector too

    def image(self, pixels):
        """One image of bytes, gray and of another size where that is asked for."""
        from PIL import Image

        if self.grey and pixels.ndim == 3 and pixels.shape[2] == 3:
            pixels = np.asarray(Image.fromarray(pixels).convert("L"))
        planes = np.moveaxis(pixels, 2, 0) if pixels.ndim == 3 else [pixels]
        size = [a or b for a, b in zip(self.size, planes[0].shape[::-1], strict=True)]
        mean = Image.Resampling.BOX
        planes = [np.asarray(Image.fromarray(plane).resize(size, mean)) for plane in planes]
        if len(planes) == 1:
            return planes[0]
        image = np.stack(planes)  # a vector if it is too narrow for convolutions
        return image if image.shape[0] < image.shape[2] else image.reshape(-1)
