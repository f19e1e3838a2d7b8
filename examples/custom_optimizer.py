"""An optimizer of your own in a few lines of NumPy: the signs of a mean of gradients, with a schedule, clipping and weight decay.

What every optimizer has (clipping, weight decay, averages, accumulation, schedules) is done around `update`. A class written in
Python makes `fit` go through Python in every step; everything else stays as it is.
"""

import numpy as np

import fastnn
from fastnn.layers import Dense, Flatten, Input
from fastnn.optimizers import Optimizer, schedules


class SignMomentum(Optimizer):
    """m = decay m + (1 - decay) g; w -= learning_rate sign(m)"""

    def __init__(self, learning_rate=0.001, decay=0.9, weight_decay=None, **common):
        super().__init__(learning_rate, weight_decay, **common)
        self.decay_rate = decay

    def slot_values(self):
        return {"mean": 0.0}

    def update(self, w, g, slots):
        mean = slots["mean"]
        mean *= self.decay_rate
        mean += (1 - self.decay_rate) * g
        w -= self.lr[0] * np.sign(mean)


(x_train, y_train), (x_test, y_test) = fastnn.datasets.digits.load_data()
x_train, x_test = x_train / 16.0, x_test / 16.0

fastnn.config.set_seed(0)
model = fastnn.Sequential([Input((8, 8)), Flatten(), Dense(64, activation="relu"), Dense(10, activation="softmax")])
optimizer = SignMomentum(schedules.CosineDecay(0.003, decay_steps=450), weight_decay=0.01, global_clipnorm=1.0)
optimizer.exclude_from_weight_decay(var_names=["bias"])
model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x_train, y_train, batch_size=32, epochs=10, verbose=0)
loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
print(f"{int(optimizer.iterations[0])} steps, test accuracy {accuracy:.4f}")
